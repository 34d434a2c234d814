package riverwait

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

const (
	defaultInterval = 5 * time.Second
	defaultTimeout  = 24 * time.Hour
	logPause        = time.Minute // between two lines about the same problem
)

// Watcher waits for the generations of pending jobs, while no watcher of another process
// does. River, Pool and Client are required. Set the fields before Run; after that a Watcher
// must not be copied.
type Watcher struct {
	// River is a client for the schema of the jobs. It need not be started.
	River *river.Client[pgx.Tx]

	// Pool has the settings of the watcher's separate connection. A Pool that connects to a
	// pooler such as PgBouncer is an error. PostgreSQL must be version 14 or newer.
	Pool *pgxpool.Pool

	// Client sends the polls. Its API key must be the one that created the generations.
	Client *gamma.Client

	// Queues are the queues of the jobs to wait for. Nil means all; an empty list is an error.
	// Of the watchers with the same Queues, one polls at a time. Watchers with different
	// Queues must not have a queue in common.
	Queues []string

	// Interval is the pause between two polls of a generation. 0 means 5 seconds. The first
	// poll comes four intervals after InsertTx, because few generations finish sooner.
	Interval time.Duration

	// Timeout limits each wait, from InsertTx on. 0 means 24 hours.
	Timeout time.Duration

	// Logger gets a line when this process starts watching, and at most once a minute a line
	// about failed polls and one about database errors. Nil means [slog.Default].
	Logger *slog.Logger

	mu      sync.Mutex
	running bool
	status  Status
	logged  [2]time.Time // when pollsFail and databaseFails were last logged
	failed  int64        // Status.Failed when pollsFail was last logged
	problem error        // of the last poll that failed; a good poll does not reset it
}

// What is logged at most once a minute.
const (
	pollsFail = iota
	databaseFails
)

// Status is the status of a [Watcher], for metrics and health checks.
type Status struct {
	// Watching reports whether this Watcher watches. By is the id of the River client of the
	// watcher that does, cut to 30 characters of ASCII. Since is when that watcher started to
	// watch, by the clock of its process. Both are zero if no such watcher is known.
	Watching bool
	By       string
	Since    time.Time

	Waiting int // number of generations that this Watcher waits for; 0 while it stands by

	// Of this Watcher, since it was made.
	Polls    int64 // number of requests
	Failed   int64 // number of requests without a good response
	Finished int64 // number of jobs that it made available

	LastGood  time.Time // the last good poll; zero if there was none
	LastError error     // of a poll or the database; nil after a good poll or a reconnect

	RateLimit gamma.RateLimit // the last known rate limit of Client
}

// Status returns the status of the watcher. It is safe for concurrent use.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	if w.Client != nil {
		s.RateLimit = w.Client.RateLimit()
	}
	return s
}

// Run watches, or stands by while another watcher does, until ctx is done. Then it returns
// nil. After a database error it connects again after a second. Bad settings, and a second
// Run at the same time, are an error at once.
func (w *Watcher) Run(ctx context.Context) error {
	switch {
	case w.River == nil, w.Pool == nil, w.Client == nil:
		return errors.New("gamma: the Watcher needs River, Pool and Client")
	case w.Interval < 0, w.Timeout < 0:
		return errors.New("gamma: the Watcher has a negative Interval or Timeout")
	case w.Queues != nil && len(w.Queues) == 0:
		return errors.New("gamma: the Watcher has no Queues: nil means all")
	}
	w.mu.Lock()
	running := w.running
	w.running = true
	w.mu.Unlock()
	if running {
		return errors.New("gamma: the Watcher is running already")
	}
	defer w.set(func(s *Status) {
		w.running = false
		*s = Status{Polls: s.Polls, Failed: s.Failed, Finished: s.Finished, LastGood: s.LastGood}
	})

	p := poller.New(w.Client)
	p.Interval = cmp.Or(w.Interval, defaultInterval)
	p.FirstPoll = 4 * p.Interval
	p.Timeout = cmp.Or(w.Timeout, defaultTimeout)
	p.KeepWaiting = true
	p.OnPoll = w.onPoll
	for ctx.Err() == nil {
		err := w.takeTurn(ctx, p)
		if ctx.Err() != nil {
			break
		}
		w.set(func(s *Status) { s.LastError = err })
		if w.mayLog(databaseFails) {
			w.logger().WarnContext(ctx, "gamma: the watcher connects to the database again", "error", err)
		}
		sleep(ctx, time.Second)
	}
	return nil
}

// takeTurn stands by until no other watcher watches, then watches until ctx or the
// connection ends.
func (w *Watcher) takeTurn(ctx context.Context, p *poller.Poller) error {
	s, err := connect(ctx, w)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		switch got, by, since, err := s.tryLock(ctx); {
		case err != nil:
			return err
		case got:
			w.set(func(s *Status) { s.Watching, s.By, s.Since = true, by, since })
			defer w.set(func(s *Status) { s.Watching, s.By, s.Since, s.Waiting = false, "", time.Time{}, 0 })
			return w.watch(ctx, s, p)
		default:
			w.set(func(s *Status) { s.By, s.Since, s.LastError = by, since, nil })
		}
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// watching is the state of a watcher that has the lock. One goroutine uses it; polling is in
// others.
type watching struct {
	*Watcher
	*session
	poller  *poller.Poller
	known   map[string]int64  // jobs by generation, from listed to finished
	queue   []poller.Progress // listed, not yet given to the poller
	after   int64             // the id after which the next page of the list starts
	checked time.Time         // when jobs that are not pending any more were last looked for
	again   chan finished     // whose jobs could not be saved
}

// finished is a generation that has finished, and its job.
type finished struct {
	poller.Result
	job   int64
	pause time.Duration // before it is saved again, if that failed
}

func (w *Watcher) watch(ctx context.Context, s *session, p *poller.Poller) error {
	// The deadline of ctx is not the deadline of a wait.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	jobs, results := make(chan poller.Progress), make(chan poller.Result)
	var all sync.WaitGroup
	all.Go(func() {
		for r := range p.All(inner, poller.FromChan(inner, jobs)) {
			select {
			case results <- r:
			case <-inner.Done():
			}
		}
	})
	defer all.Wait()
	defer cancel()

	v := &watching{Watcher: w, session: s, poller: p, known: map[string]int64{}, checked: time.Now(), again: make(chan finished)}
	tick := time.NewTimer(0)
	defer tick.Stop()
	var due time.Time      // of the next list
	var took time.Duration // the last
	for {
		var feed chan poller.Progress
		var next poller.Progress
		if len(v.queue) > 0 {
			feed, next = jobs, v.queue[0]
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case feed <- next:
			if v.queue = v.queue[1:]; len(v.queue) == 0 {
				v.queue = nil // to release its memory
			}
		case r := <-results:
			err = v.finish(ctx, finished{Result: r, job: v.known[r.ID], pause: time.Second})
		case f := <-v.again:
			err = v.finish(ctx, f)
		case <-tick.C:
			start, first, more := time.Now(), due.IsZero(), false
			if start.Before(due) {
				err = s.ping(ctx) // PostgreSQL ends an idle session
			} else {
				if more, err = v.list(ctx); first && err == nil {
					w.logger().InfoContext(ctx, "gamma: this process watches")
					w.set(func(s *Status) { s.LastError = nil })
				}
				// Lists take a twentieth of the time, however many jobs wait. One slow list, which
				// may have waited for a lock, does not delay the next.
				last := took
				took = time.Since(start)
				due = start.Add(20 * min(took, last))
			}
			if tick.Reset(time.Second); more {
				due = start
				tick.Reset(0)
			}
			w.logFailures(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// list reads the next page of pending jobs that are not known.
func (v *watching) list(ctx context.Context) (more bool, err error) {
	known := make([]int64, 0, len(v.known))
	for _, job := range v.known {
		if job > v.after { // the others are not in the page
			known = append(known, job)
		}
	}
	checking := v.after == 0 && time.Since(v.checked) >= time.Minute
	page, err := v.session.list(ctx, known, v.after, checking)
	if err != nil {
		return false, err
	}
	for _, wait := range page.pending {
		if _, ok := v.known[wait.progress.ID]; ok {
			continue // another job of the same generation, which is next after this one
		}
		v.known[wait.progress.ID] = wait.job
		v.queue = append(v.queue, wait.progress)
	}
	if checking {
		if !page.more {
			v.checked = time.Now()
		}
		gone := make(map[int64]bool, len(page.gone))
		for _, job := range page.gone {
			gone[job] = true
		}
		for id, job := range v.known {
			if gone[job] {
				v.poller.Drop(id)
			}
		}
	}
	v.after = page.last
	v.set(func(s *Status) { s.Waiting = len(v.known) })
	return page.last != 0, nil
}

// finish makes the job of a generation available. An error means that the connection cannot
// be used any more.
func (v *watching) finish(ctx context.Context, f finished) error {
	switch {
	case f.ID == "", errors.Is(f.Err, context.Canceled): // the end of ctx
		return nil
	case errors.Is(f.Err, poller.ErrDropped):
		delete(v.known, f.ID)
		return nil
	}
	saved, err := v.save(ctx, f.job, f.Result)
	if err == nil {
		delete(v.known, f.ID)
		v.set(func(s *Status) {
			if saved {
				s.Finished++
			}
			s.Waiting = len(v.known)
		})
	} else if !v.conn.IsClosed() && ctx.Err() == nil {
		// The error is about this job, such as a lock that another transaction holds.
		v.set(func(s *Status) { s.LastError = err })
		if v.mayLog(databaseFails) {
			v.logger().WarnContext(ctx, "gamma: a job cannot be made available yet", "job", f.job, "error", err)
		}
		pause := f.pause
		f.pause, err = min(2*pause, time.Minute), nil
		time.AfterFunc(pause, func() {
			select {
			case v.again <- f:
			case <-v.ended:
			}
		})
	}
	return err
}

// onPoll counts a poll.
func (w *Watcher) onPoll(e poller.Event) {
	w.set(func(s *Status) {
		s.Polls++
		switch {
		case e.Err == nil:
			s.LastGood, s.LastError = time.Now(), nil
		case errors.Is(e.Err, context.Canceled):
		default:
			s.Failed++
			s.LastError, w.problem = e.Err, e.Err
		}
	})
}

// logFailures logs that polls fail, at most once a minute.
func (w *Watcher) logFailures(ctx context.Context) {
	s := w.Status()
	failed := s.Failed - w.failed
	if failed == 0 || !w.mayLog(pollsFail) {
		return
	}
	var problem error
	w.set(func(*Status) { problem = w.problem })
	w.failed = s.Failed
	w.logger().WarnContext(ctx, "gamma: polls fail", "failed", failed, "waiting", s.Waiting, "last good", s.LastGood, "error", problem)
}

// mayLog reports whether a line may be logged now. If so, it counts as logged.
func (w *Watcher) mayLog(what int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.logged[what]) < logPause {
		return false
	}
	w.logged[what] = time.Now()
	return true
}

func (w *Watcher) set(f func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.status)
}

func (w *Watcher) logger() *slog.Logger {
	if w.Logger != nil {
		return w.Logger
	}
	return slog.Default()
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
