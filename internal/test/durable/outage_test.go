//go:build unix

package durable

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/poller/riverwait"
	"github.com/riverqueue/river/rivertype"
)

// TestOutages has outages of 120 intervals, which are ten minutes with the default interval.
// No wait ends, the status and the log report the error, and all jobs finish afterwards.
func TestOutages(t *testing.T) {
	t.Parallel()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	address, err := url.Parse(tls.URL)
	if err != nil {
		t.Fatal(err)
	}
	wrongCertificate := func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host = address.Scheme, address.Host
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		return transport.RoundTrip(r)
	}
	noSuchHost := func(*http.Request) (*http.Response, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "gamma.example", IsNotFound: true}
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	status := func(code int) func(error) bool {
		return func(err error) bool {
			var apiErr *gamma.APIError
			return errors.As(err, &apiErr) && apiErr.StatusCode == code
		}
	}
	for name, row := range map[string]struct {
		step     gammatest.Step
		outage   func(*http.Request) (*http.Response, error)
		reached  bool // there was a valid response before
		is       func(error) bool
		atMost   int  // polls of each generation; 0 for any number
		newOne   bool // only a new process polls again
		notAnErr bool
	}{
		"status 503":                      {step: gammatest.Status(503), is: status(503)},
		"status 503 after good responses": {step: gammatest.Status(503), reached: true, is: status(503)},
		"status 401":                      {step: gammatest.Status(401), is: is(gamma.ErrUnauthorized), atMost: 25},
		"status 402":                      {step: gammatest.Raw(402, "application/json", `{"message": "no", "statusCode": 402}`), is: is(gamma.ErrInsufficientCredits), atMost: 25},
		"status 403":                      {step: gammatest.Status(403), is: is(gamma.ErrForbidden), atMost: 25},
		"status 302":                      {step: gammatest.Raw(302, "text/html", "elsewhere"), is: status(302), atMost: 25},
		"HTML":                            {step: gammatest.Raw(200, "text/html", "<p>We will be back"), is: is(gamma.ErrUnexpectedResponse)},
		"id of another generation":        {step: gammatest.Malformed(`{"generationId": "other", "status": "completed"}`), is: func(err error) bool { return err != nil }},
		"no response":                     {step: gammatest.Drop(), is: func(err error) bool { return err != nil }},
		"body of 2 MiB":                   {step: gammatest.Malformed(`{"x": "` + strings.Repeat("x", 2<<20) + `"}`), is: is(gamma.ErrResponseTooLarge), atMost: 25},
		"unknown authority":               {outage: wrongCertificate, is: func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }},
		"unknown host":                    {outage: noSuchHost, is: func(err error) bool { return errors.As(err, new(*net.DNSError)) }},
		"Retry-After of six hours, 429":   {step: gammatest.RateLimited(6 * time.Hour), is: is(gamma.ErrRateLimited), atMost: 1, newOne: true},
		"Retry-After of six hours, 503":   {step: gammatest.Header("Retry-After", "21600", gammatest.Status(503)), is: status(503), atMost: 1, newOne: true},
		"no requests remaining today": {
			step:   gammatest.Header("X-Ratelimit-Limit-Daily", "1000", gammatest.Header("X-Ratelimit-Remaining-Daily", "0", gammatest.Pending(1))),
			atMost: 1, newOne: true, notAnErr: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.work(w.outcome)
			watcher, stop := w.watch()
			const n = 3
			all := ids("g", n)
			for _, id := range all {
				w.fake.Add(id, gammatest.Pending(1_000_000))
			}
			if row.reached {
				w.insert(all...)
				w.eventually("a good poll", func() bool { return !watcher.Status().LastGood.IsZero() })
			}
			if row.outage != nil {
				w.outage.Store(&row.outage)
			}
			for _, id := range all {
				w.fake.Add(id, row.step)
			}
			start, before := time.Now(), w.polls("g0")
			if !row.reached {
				w.insert(all...)
			}
			if !row.notAnErr {
				w.eventually("the status tells of it", func() bool { return row.is(watcher.Status().LastError) })
				w.eventually("the log tells of it", func() bool { return w.log.count("polls fail") > 0 })
			} else {
				w.eventually("the status tells of it", func() bool { return watcher.Status().RateLimit.Day.Remaining == 0 })
			}
			w.eventually("ten minutes have passed", func() bool { return time.Since(start) > 120*interval })
			if s := watcher.Status(); s.Waiting != n || s.Finished != 0 || !row.notAnErr && (s.Failed == 0 || s.LastGood.IsZero() == row.reached) {
				t.Errorf("the status is %+v", s)
			}
			if n := w.log.count("polls fail"); n > 1 {
				t.Errorf("%d lines of the log, want 1 in a minute:\n%s", n, w.log.String())
			}
			if polls := w.polls("g0") - before; row.atMost > 0 && polls > row.atMost {
				t.Errorf("%d polls, want at most %d", polls, row.atMost)
			}
			w.outage.Store(nil)
			for _, id := range all {
				w.fake.Add(id, gammatest.Completed(""))
			}
			if row.newOne {
				stop()
				w.watch(func(watcher *riverwait.Watcher) { watcher.Client = w.newClient() })
			}
			w.once(n)
			if n := value[int](w, "SELECT count(*) FROM outcomes WHERE text = 'completed'"); n != len(all) {
				t.Errorf("%d good outcomes, want %d", n, len(all))
			}
		})
	}
}

// TestFailingPollIsLogged has one generation whose polls fail, among many others.
func TestFailingPollIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Add("bad", gammatest.Malformed("{"))
	for _, id := range ids("g", 100) {
		w.fake.Add(id, gammatest.Pending(1_000_000))
	}
	w.insert(append(ids("g", 50), "bad")...)
	w.insert(ids("g", 100)[50:]...)
	w.watch()
	w.eventually("a line tells of it", func() bool { return w.log.count("polls fail") > 0 })
	if w.log.count("polls fail") != 1 || w.log.count("error=<nil>") > 0 {
		t.Errorf("the log does not say why:\n%s", w.log.String())
	}
}

// TestNotFound ends a wait at the second consecutive 404, also in another process.
func TestNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	w.watch()
	w.fake.Add("lost", gammatest.Status(404))
	w.fake.Add("found", gammatest.Status(404), gammatest.Completed(""))
	w.insert("lost", "found")
	w.once(2)
	if n := value[int](w, "SELECT count(*) FROM outcomes WHERE text LIKE '%404 Not Found%'"); n != 1 || w.polls("lost") != 2 {
		t.Errorf("%d outcomes with 404 after %d polls, want 1 after 2", n, w.polls("lost"))
	}
}

// TestTimeout measures Timeout from InsertTx, also across a restart of the watcher.
func TestTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second
	for name, row := range map[string]struct {
		step          gammatest.Step
		first, second time.Duration // after InsertTx: the first watcher ends, a second starts; 0: there is one watcher
		text          string
		least         time.Duration // from InsertTx until the job is available
		export        bool          // wait for the export
	}{
		"a watcher runs":                        {gammatest.Pending(1_000_000), 0, 0, "deadline exceeded", timeout - 2*interval, false},
		"the watcher is restarted before":       {gammatest.Pending(1_000_000), 2400 * time.Millisecond, 2500 * time.Millisecond, "deadline exceeded", timeout - 2*interval, false},
		"no watcher runs":                       {gammatest.Pending(1_000_000), 1500 * time.Millisecond, timeout + 500*time.Millisecond, "deadline exceeded", timeout, false},
		"no watcher runs, generation completed": {gammatest.PendingFor(2 * time.Second), 1500 * time.Millisecond, timeout + 500*time.Millisecond, "completed", timeout, false},
		"the export is missing":                 {gammatest.ExportPendingFor(time.Hour), 0, 0, "deadline exceeded", timeout - 2*interval, true},
		"503":                                   {gammatest.Times(1000, gammatest.Status(503)), 0, 0, "last error: GET /v1.0/generations/{id}: 503", timeout - 2*interval, false},
		"429, Retry-After of six hours":         {gammatest.RateLimited(6 * time.Hour), 0, 0, "429", timeout - 2*interval, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.work(w.outcome)
			limited := func(watcher *riverwait.Watcher) { watcher.Timeout = timeout }
			w.fake.Add("g", row.step, gammatest.Completed(""))
			id := w.insert("g")[0]
			inserted := time.Now()
			if row.export {
				w.exec(`UPDATE river_job SET metadata = jsonb_set(metadata, '{gamma,export}', 'true')`)
			}
			_, stop := w.watch(limited)
			if row.first > 0 {
				time.Sleep(time.Until(inserted.Add(row.first)))
				stop()
				time.Sleep(time.Until(inserted.Add(row.second)))
				if state := w.job(id).State; state != rivertype.JobStatePending {
					t.Fatalf("the job is %s", state)
				}
				w.watch(limited)
			}
			w.once(1)
			if text := value[string](w, "SELECT text FROM outcomes"); !strings.Contains(text, row.text) {
				t.Errorf("the outcome is %q, want %q", text, row.text)
			}
			job := w.job(id)
			if d := job.ScheduledAt.Sub(job.CreatedAt); d < row.least || d > timeout+2*time.Second {
				t.Errorf("the job was made available after %v, want %v to 2 seconds after the timeout", d, row.least)
			}
		})
	}
}

// TestRunDeadline has a context with a deadline: it ends Run but no wait.
func TestRunDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(w.outcome)
	const n = 50
	for _, id := range ids("g", n) {
		w.fake.Add(id, gammatest.Pending(1_000_000))
	}
	w.insert(ids("g", n)...)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	watcher := &riverwait.Watcher{River: w.river, Pool: w.pool, Client: w.client, Interval: 500 * time.Millisecond}
	if err := watcher.Run(ctx); err != nil {
		t.Error(err)
	}
	if s := watcher.Status(); s.Polls == 0 || s.Finished != 0 {
		t.Errorf("the status is %+v", s)
	}
	if pending := value[int](w, "SELECT count(*) FROM river_job WHERE state = 'pending'"); pending != n {
		t.Errorf("%d jobs are pending, want %d", pending, n)
	}
	for _, id := range ids("g", n) {
		w.fake.Add(id, gammatest.Completed(""))
	}
	w.watch()
	w.once(n)
}

// TestClocks has a database whose clock is ten minutes ahead of the worker's or behind it:
// its functions for the time are replaced. Timeout is measured correctly, whichever process
// lists the job.
func TestClocks(t *testing.T) {
	t.Parallel()
	for name, minutes := range map[string]int{"worker behind": 10, "worker ahead": -10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, f := range []string{"now", "clock_timestamp"} {
				w.exec("CREATE SCHEMA IF NOT EXISTS shifted")
				w.exec("CREATE FUNCTION shifted." + f + "() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog." + f + "() + " + strconv.Itoa(minutes) + " * interval '1 minute' $$")
			}
			w.exec("ALTER DATABASE " + w.pool.Config().ConnConfig.Database + " SET search_path = shifted, pg_catalog, public")
			w.pool.Reset()
			w.exec("SET search_path = shifted, pg_catalog, public") // of the connection that is left
			w.fake.Add("pending", gammatest.Pending(1_000_000))
			w.fake.Add("finishes", gammatest.Pending(10), gammatest.Completed(""))
			jobs := w.insert("pending", "finishes")
			var now time.Time
			if err := w.pool.QueryRow(context.Background(), "SELECT now()").Scan(&now); err != nil {
				t.Fatal(err)
			}
			if d := time.Until(now).Minutes(); d < float64(minutes)-1 || d > float64(minutes)+1 {
				t.Fatalf("the database is %v minutes ahead, want %d", d, minutes)
			}
			w.work(w.outcome)
			limited := func(watcher *riverwait.Watcher) { watcher.Timeout = 3 * time.Second }
			_, stop := w.watch(limited)
			w.once(1)
			stop()
			w.watch(limited)
			w.once(2)
			// River takes created_at from the clock of the worker, scheduled_at from the other.
			job := w.job(jobs[0])
			if d := job.ScheduledAt.Sub(job.CreatedAt) - time.Duration(minutes)*time.Minute; d < 3*time.Second-2*interval || d > 5*time.Second {
				t.Errorf("the wait ended after %v, want 3s", d)
			}
			for i, text := range []string{"deadline exceeded", "completed"} {
				if got := value[string](w, "SELECT text FROM outcomes WHERE job = $1", jobs[i]); !strings.Contains(got, text) {
					t.Errorf("the outcome is %q, want %q", got, text)
				}
			}
		})
	}
}
