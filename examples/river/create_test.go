package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

const uncertain = "uncertain"

func TestCreate(t *testing.T) {
	w := newWorld(t)
	w.work(worker{})
	w.finished()
	if job := w.untilState(rivertype.JobStateCompleted); job.Attempt != 1 || !strings.Contains(string(job.Output()), "GenerationID") {
		t.Errorf("the create job is after attempt %d, with output %s", job.Attempt, job.Output())
	}
	w.want(true, true, 1)
}

// hold keeps record from writing the id, until release is called.
func (w *world) hold() (waiting func(), release func()) {
	w.Helper()
	w.exec(`CREATE FUNCTION hold() RETURNS trigger AS 'BEGIN PERFORM pg_advisory_xact_lock(13); RETURN NEW; END' LANGUAGE plpgsql`)
	w.exec(`CREATE TRIGGER hold BEFORE UPDATE OF generation ON decks FOR EACH ROW EXECUTE FUNCTION hold()`)
	tx := w.begin(`SELECT pg_advisory_xact_lock(13)`)
	waiting = func() {
		w.untilTrue("the worker records the id", `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 13 AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
	}
	return waiting, func() { w.check(tx.Rollback(w.Context())) }
}

// begin starts a transaction with a statement that locks something.
func (w *world) begin(sql string) pgx.Tx {
	w.Helper()
	tx, err := w.pool.Begin(w.Context())
	w.check(err)
	w.Cleanup(func() { _ = tx.Rollback(w.Context()) })
	_, err = tx.Exec(w.Context(), sql)
	w.check(err)
	return tx
}

// kill kills the program, which was started under the name victim. PostgreSQL finishes a
// statement whose client has gone, so its sessions are ended too.
func (w *world) kill(p *program) {
	w.Helper()
	const name = "victim"
	w.check(p.Process.Kill())
	_ = p.Wait()
	w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()`, name)
	w.untilTrue("its sessions have ended", `SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database())`, name)
}

// The process dies by SIGKILL, and River gives the job to another one.
func TestKill(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		at      func(*world) (release func()) // starts the program, kills it, and returns
		state   rivertype.JobState
		created int32
	}{
		"before anything was sent": {func(w *world) func() {
			locked := w.begin(`SELECT FROM decks FOR UPDATE`)
			p := w.start("victim")
			w.untilTrue("the program waits for the lock", `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'victim' AND wait_event_type = 'Lock' AND datname = current_database())`)
			w.kill(p)
			return func() { w.check(locked.Rollback(w.Context())) }
		}, rivertype.JobStateCompleted, 1},

		"before the request arrives": {func(w *world) func() {
			listener, err := (&net.ListenConfig{}).Listen(w.Context(), "tcp", "127.0.0.1:0") // nobody accepts
			w.check(err)
			w.Cleanup(func() { _ = listener.Close() })
			url := w.fake.URL
			w.fake.URL = "http://" + listener.Addr().String()
			p := w.start("victim")
			w.fake.URL = url
			w.untilTrue("the program sends", `SELECT sent IS NOT NULL FROM decks`)
			w.kill(p)
			return func() {}
		}, rivertype.JobStateCancelled, 0},

		"before the response": {func(w *world) func() {
			w.fake.Next("createGeneration", gammatest.Delay(time.Hour, gammatest.Usual()))
			p := w.start("victim")
			w.until("the fake has created", func() bool { return w.created.Load() == 1 })
			w.kill(p)
			return func() {}
		}, rivertype.JobStateCancelled, 1},

		"after the response, before the commit": {func(w *world) func() {
			waiting, release := w.hold()
			p := w.start("victim")
			waiting()
			w.kill(p)
			return release
		}, rivertype.JobStateCancelled, 1},

		"after the commit, before River notes it": {func(w *world) func() {
			waiting, release := w.hold()
			p := w.start("victim")
			waiting()
			locked := w.begin(`SELECT FROM river_job WHERE kind = 'create_deck' FOR UPDATE`)
			release()
			w.untilTrue("the id is recorded", `SELECT generation IS NOT NULL FROM decks`)
			w.kill(p)
			return func() { w.check(locked.Rollback(w.Context())) }
		}, rivertype.JobStateCompleted, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			row.at(w)()
			if state := w.job(CreateArgs{}.Kind()).State; state != rivertype.JobStateRunning {
				t.Fatalf("the job of the process that was killed is %s", state)
			}
			w.rescue()
			w.work(worker{})
			job := w.untilState(row.state)
			if job.Attempt != 2 {
				t.Errorf("the job ended at attempt %d, want 2", job.Attempt)
			}
			if row.state == rivertype.JobStateCompleted {
				w.finished()
				return
			}
			if !strings.Contains(texts(job), uncertain) {
				t.Errorf("errors %q, want one that says uncertain", texts(job))
			}
			w.want(true, false, row.created)
		})
	}
}

// A create that was refused has created nothing, so that it is safe to retry.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		step  gammatest.Step
		state rivertype.JobState
		text  string // of an error of the job
	}{
		"400 is final":                             {gammatest.Status(400), rivertype.JobStateCancelled, "400"},
		"401, then the key is accepted":            {gammatest.Status(401), rivertype.JobStateCompleted, "401"},
		"402, then there are credits":              {gammatest.Status(402), rivertype.JobStateCompleted, "402"},
		"403, then the key has the right":          {gammatest.Status(403), rivertype.JobStateCompleted, "403"},
		"429 for a second, within the attempt":     {gammatest.RateLimited(time.Second), rivertype.JobStateCompleted, ""},
		"429 for longer than the attempt may take": {gammatest.RateLimited(time.Hour), rivertype.JobStateRetryable, "429"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fake.Next("createGeneration", row.step)
			w.work(worker{})
			job := w.untilState(row.state)
			if !strings.Contains(texts(job), row.text) {
				t.Errorf("errors %q, want one with %q", texts(job), row.text)
			}
			created := row.state == rivertype.JobStateCompleted
			w.want(created, created, map[bool]int32{true: 1}[created])
		})
	}
}

func TestInvalid(t *testing.T) {
	w := newWorld(t)
	w.exec(`UPDATE decks SET text = ''`)
	w.work(worker{})
	w.untilState(rivertype.JobStateCancelled)
	w.want(false, false, 0)
	if n := len(w.fake.Requests()); n != 0 {
		t.Errorf("%d requests sent", n)
	}
}

// A create whose outcome is unknown is not sent again, neither by River nor by an operator
// who only retries the job.
func TestUncertain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		step    gammatest.Step
		created int32
	}{
		"503":                                  {gammatest.Status(503), 0},
		"connection closed before the request": {gammatest.Drop(), 0},
		"response cut off before the id":       {gammatest.CutAfter(1, gammatest.Usual()), 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fake.Next("createGeneration", row.step)
			client, _ := w.work(worker{})
			for attempt := 1; attempt <= 2; attempt++ {
				w.until("the job has ended", func() bool {
					job := w.job(CreateArgs{}.Kind())
					return job.State == rivertype.JobStateCancelled && job.Attempt == attempt
				})
				job := w.job(CreateArgs{}.Kind())
				if last := job.Errors[len(job.Errors)-1].Error; !strings.Contains(last, uncertain) {
					t.Errorf("attempt %d: error %q", attempt, last)
				}
				w.want(true, false, row.created)
				if attempt == 2 {
					w.exec(`UPDATE decks SET sent = NULL`) // the operator has looked: it is not in Gamma
				}
				_, err := client.JobRetry(t.Context(), job.ID)
				w.check(err)
			}
			w.untilState(rivertype.JobStateCompleted)
			w.want(true, true, row.created+1)
		})
	}
}

// What was paid for is not lost when only its end is.
func TestResponseCutOffAfterTheID(t *testing.T) {
	w := newWorld(t)
	w.fake.Next("createGeneration", gammatest.CutAfter(len(`{"generationId":"0123456789`)+12, gammatest.Usual()))
	w.work(worker{})
	w.untilState(rivertype.JobStateCompleted)
	w.finished()
}

func TestConnectionRefused(t *testing.T) {
	w := newWorld(t)
	// Not a closed port, which the fake of another test may get.
	var listening atomic.Bool
	transport := gamma.NewTransport()
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !listening.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return dial(ctx, network, address)
	}
	w.work(worker{gamma: w.newClient(w.fake.URL, transport), timeout: 5 * time.Second})
	w.until("the first attempt has failed", func() bool { return len(w.job(CreateArgs{}.Kind()).Errors) > 0 })
	listening.Store(true)
	job := w.untilState(rivertype.JobStateCompleted)
	if !strings.Contains(texts(job), "refused") {
		t.Errorf("errors %q", texts(job))
	}
	w.want(true, true, 1)
}

// fail makes the first n transactions with an id fail.
func (w *world) fail(n int) {
	w.Helper()
	w.exec(`CREATE SEQUENCE failures`) // no transaction takes its value back
	w.exec(`CREATE FUNCTION fail() RETURNS trigger AS $$ BEGIN
		IF nextval('failures') <= ` + strings.Repeat("1+", n) + `0 THEN RAISE 'no space'; END IF;
		RETURN NEW; END $$ LANGUAGE plpgsql`)
	w.exec(`CREATE TRIGGER fail BEFORE UPDATE OF generation ON decks FOR EACH ROW EXECUTE FUNCTION fail()`)
}

func TestTransactionFailsTwice(t *testing.T) {
	w := newWorld(t)
	w.fail(2)
	w.work(worker{})
	if job := w.untilState(rivertype.JobStateCompleted); job.Attempt != 1 {
		t.Errorf("completed by attempt %d, want 1", job.Attempt)
	}
	w.finished()
}

// If the id cannot be recorded, it is in the error and the output of the job.
func TestTransactionFails(t *testing.T) {
	t.Parallel()
	for name, cancel := range map[string]bool{"and the job ends": false, "and an operator cancels the job meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fail(100)
			client, _ := w.work(worker{})
			if cancel {
				w.untilTrue("a transaction has failed", `SELECT is_called FROM failures`)
				_, err := client.JobCancel(t.Context(), w.job(CreateArgs{}.Kind()).ID)
				w.check(err)
			}
			job := w.untilState(rivertype.JobStateCancelled)
			w.want(true, false, 1)
			if text := texts(job); !cancel && (!strings.Contains(text, "generation ") || !strings.Contains(text, "no space")) {
				t.Errorf("errors %q have no id or no reason", text)
			}
			if !strings.Contains(string(job.Output()), `"GenerationID":"`) && !strings.Contains(string(job.Output()), `"GenerationID": "`) {
				t.Errorf("output %s has no id", job.Output())
			}
		})
	}
}

// gate holds the responses to creates back until it is open.
type gate struct {
	arrived chan struct{} // a response has
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 10), make(chan struct{})} }

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	rsp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || r.Method != http.MethodPost {
		return rsp, err
	}
	g.arrived <- struct{}{}
	select {
	case <-g.open:
		return rsp, nil
	case <-r.Context().Done():
		_ = rsp.Body.Close()
		return nil, r.Context().Err()
	}
}

// River gives the job to a second worker, although the first one is still creating. The
// second ends as uncertain, and what the first one creates is recorded.
func TestRescueWhileCreating(t *testing.T) {
	w := newWorld(t)
	g := newGate()
	w.work(worker{gamma: w.newClient(w.fake.URL, g), river: river.Config{LeaderElectionDisabled: true}})
	<-g.arrived
	w.rescue()
	w.work(worker{})
	job := w.untilState(rivertype.JobStateCancelled)
	if job.Attempt != 2 || !strings.Contains(texts(job), uncertain) {
		t.Errorf("attempt %d, errors %q", job.Attempt, texts(job))
	}
	close(g.open)
	w.finished()
	w.want(true, true, 1)
}

// A stop cancels the context of the worker. River counts the attempt back if the error is
// that context's, and runs the job again.
func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("while the create is in flight", func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		_, stop := w.work(worker{gamma: w.newClient(w.fake.URL, g), river: river.Config{SoftStopTimeout: time.Millisecond}})
		<-g.arrived
		stop()
		if job := w.job(CreateArgs{}.Kind()); job.State != rivertype.JobStateCancelled || !strings.Contains(texts(job), uncertain) {
			t.Errorf("the job is %s, errors %q", job.State, texts(job))
		}
		w.want(true, false, 1)
	})
	t.Run("in the pause after a 429", func(t *testing.T) {
		w := newWorld(t)
		w.fake.Next("createGeneration", gammatest.RateLimited(time.Minute))
		_, stop := w.work(worker{river: river.Config{SoftStopTimeout: time.Millisecond}})
		w.until("the request is refused", func() bool { return len(w.fake.Requests()) == 1 })
		stop()
		if job := w.job(CreateArgs{}.Kind()); job.State != rivertype.JobStateAvailable || job.Attempt != 0 {
			t.Errorf("the job is %s after attempt %d, want available after 0", job.State, job.Attempt)
		}
		w.want(false, false, 0)
		w.work(worker{})
		w.finished()
	})
	t.Run("while the id is being recorded", func(t *testing.T) {
		w := newWorld(t)
		waiting, release := w.hold()
		_, stop := w.work(worker{river: river.Config{SoftStopTimeout: time.Millisecond}})
		waiting()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			stop()
		}()
		release()
		<-stopped
		w.want(true, true, 1)
		if job := w.job(CreateArgs{}.Kind()); job.State != rivertype.JobStateCompleted {
			t.Errorf("the job is %s, errors %q", job.State, texts(job))
		}
	})
}
