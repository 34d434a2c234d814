// Package ratelimit keeps the requests of a process within the rate limit of an API key.
//
// A client has a [Budget], with an [Operation] for each operation of the API. Every request
// is counted when it is sent and when its response is received. Requests that may wait call
// [Operation.Admit] first, in the order of the queue. The limit is learned from the
// rate-limit headers, from Retry-After, and from the rate at which the server responds
// with 429.
//
// The API does not document whether it limits a key or each operation. A Budget assumes one
// limit until a response shows otherwise: while one operation is refused, the others wait
// until a request of theirs is accepted.
package ratelimit

import (
	"container/list"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// maxPause is more than any window lasts.
	maxPause = 24 * time.Hour

	// retryBudget is how many failed requests may be retried before the longest pause. A
	// good response earns a tenth of a retry, so that clients send few requests in an
	// outage.
	retryBudget = 100

	// maxTurnWait is how long others wait for the operation whose turn it is.
	maxTurnWait = 5 * time.Second

	// resolution is how exactly Retry-After and the reset of a window are known.
	resolution = time.Second

	// maxProbes is how many probes must be refused before one limit is assumed for all
	// operations.
	maxProbes = 2

	// visitTimeout is how late a postponed request may be before it is forgotten.
	// Programs that check all of their ids every few minutes are late.
	visitTimeout = 5 * time.Minute

	// smallBatch is the number of waits up to which a call of All does not spare
	// requests for others.
	smallBatch = 16
)

// Budget is what this process knows of the rate limit of a key. The zero Budget is ready
// to use. It is safe for concurrent use.
type Budget struct {
	mu         sync.Mutex
	start      time.Time // of its moments
	key        account   // from the responses of all operations
	operations []*Operation
	queues     []*Queue
	admitted   int64 // number of admitted requests
	separate   bool  // operations have separate limits
	shared     int   // how many probes have shown that they share one
	retried    int   // used of the retry budget, in tenths
}

// Operation is the part of a [Budget] for one operation. It is safe for concurrent use. The
// embedded Queue is for all requests without a separate queue.
type Operation struct {
	*Queue
	name       string
	budget     *Budget
	own        account // from the responses of this operation
	checkpoint checkpoint

	deferred deferred
}

// deferred are the requests that Try has postponed.
type deferred struct {
	visits map[string]visit // by id
	number int64            // of the last request that has a place
	done   int64            // number of those that were sent or forgotten
	served int64            // Budget.admitted when the last one was sent
	purge  moment           // when to forget late ones next
}

type visit struct {
	number int64  // its place; 0 if it has none yet
	until  moment // when it is forgotten
}

// Queue holds the waiting requests of one operation in order. The queues of a Budget take
// turns.
type Queue struct {
	operation *Operation
	tickets   list.List // of *Ticket
	served    int64     // Budget.admitted when the last one was admitted
}

// Ticket is the place of a request in a queue. Admit adds it if the request must wait. The
// zero Ticket is ready to use, by one goroutine.
type Ticket struct {
	wake    chan struct{}
	element *list.Element
}

// Wake returns a channel that receives a value when Admit should be called again. It is nil
// until the request has to wait.
func (t *Ticket) Wake() <-chan struct{} { return t.wake }

// Response is the response to a request. The zero Response means that there was none.
type Response struct {
	Status     int
	RetryAfter time.Duration
	Limits     Limits
	Sent       time.Time // when the request was sent
	Err        error     // the error of a 429, for the requests that wait because of it

	// Good and Failed count for the retry budget.
	Good, Failed bool
}

// Operation returns the operation with that name. It always returns the same one.
func (b *Budget) Operation(name string) *Operation {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.operations {
		if o.name == name {
			return o
		}
	}
	o := &Operation{name: name, budget: b}
	o.Queue = b.newQueue(o)
	b.operations = append(b.operations, o)
	return o
}

// NewQueue returns another queue of the operation. Close removes it.
func (o *Operation) NewQueue() *Queue {
	o.budget.mu.Lock()
	defer o.budget.mu.Unlock()
	return o.budget.newQueue(o)
}

func (b *Budget) newQueue(o *Operation) *Queue {
	b.admitted++
	q := &Queue{operation: o, served: b.admitted}
	b.queues = append(b.queues, q)
	return q
}

// Close removes an empty queue.
func (q *Queue) Close() {
	b := q.operation.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues = slices.DeleteFunc(b.queues, func(other *Queue) bool { return other == q })
}

// Counted returns a context for a request that the caller has counted.
func (o *Operation) Counted(ctx context.Context) context.Context {
	return o.budget.With(ctx, Counted)
}

// Admit counts a request and returns 0 if it may be sent now. Otherwise it adds t to the
// queue, unless it is there, and returns how long to wait before the next call, unless Wake
// receives earlier, and the error of the response that forbids the request, if any. last
// means that the request is the last before a deadline: it ignores turns and the pace.
func (q *Queue) Admit(t *Ticket, now time.Time, last bool) (time.Duration, error) {
	o, b := q.operation, q.operation.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !last && t.element == nil && b.waiting() {
		q.join(t) // before q.wait, since it may be its turn
	}
	at := b.at(now)
	wait, why := q.wait(t, at, last)
	switch {
	case wait <= 0:
		q.remove(t)
		t.wake = nil // the Ticket may be kept for long
		b.admitted++
		q.served = b.admitted
		o.count(at, 0)
		b.wakeNext()
	case !last && t.element == nil:
		q.join(t)
	}
	return wait, why
}

func (q *Queue) join(t *Ticket) {
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
	}
	t.element = q.tickets.PushBack(t)
}

// Leave removes a request that will not be sent from the queue.
func (q *Queue) Leave(t *Ticket) {
	if t.element == nil {
		return
	}
	b := q.operation.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	q.remove(t)
	b.wakeNext()
}

func (q *Queue) remove(t *Ticket) {
	if t.element != nil {
		q.tickets.Remove(t.element)
		t.element = nil
	}
}

// Acquire waits until a request may be sent and counts it. It returns the error of ctx if
// that is done, or at once the error of the response that forbids requests until after the
// deadline of ctx. It calls tell, if not nil, before each pause of a second or more whose
// end is known. tell must not panic.
func (o *Operation) Acquire(ctx context.Context, tell func(error, time.Duration)) error {
	var t Ticket
	for {
		wait, why := time.Duration(0), ctx.Err()
		if why == nil {
			if wait, why = o.Admit(&t, time.Now(), false); wait <= 0 {
				return nil
			}
		}
		if deadline, ok := ctx.Deadline(); why != nil && (wait <= 0 || ok && wait > time.Until(deadline)) {
			o.Leave(&t)
			return why
		}
		if tell != nil && wait >= time.Second && wait < maxPause { // maxPause: until its turn
			tell(why, wait)
		}
		Sleep(ctx, wait, &t)
	}
}

// Sleep returns after d, when ctx is done, or when t.Wake receives.
func Sleep(ctx context.Context, d time.Duration, t *Ticket) {
	select {
	case <-time.After(d):
	case <-t.wake:
	case <-ctx.Done():
	}
}

// Try is like Admit for a caller that does not wait, but may call again with the same id
// after the time that Try returns. Postponed requests keep their order. A new id is
// postponed for first if the rate limit delays polls; see Stretched.
func (o *Operation) Try(id string, t time.Time, interval, first time.Duration) time.Duration {
	b := o.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now, l := b.at(t), &o.deferred
	v, ok := l.visits[id]
	if !ok && first > 0 && o.stretched(l.number-l.done, 1, interval, now) {
		return l.postpone(id, visit{}, first, now)
	}
	if v.number == 0 {
		l.number++
		v.number = l.number
	}
	wait, why := o.limit(now)
	if wait <= 0 {
		// One less than its place, since it may call later than it could, unlike those in the
		// queues. But it does not take two turns before one of theirs.
		place := max(v.number-l.done-1, 0)
		if next := b.next(o, !b.separate, now); next != nil && next.served < l.served {
			place += 2
		}
		wait = o.account().pace(place, now)
	}
	if wait <= 0 {
		delete(l.visits, id)
		l.done++
		b.admitted++
		l.served = b.admitted
		o.count(now, l.number-l.done)
		return 0
	}
	if why == nil {
		wait = max(wait/2, min(wait, time.Second)) // it may become shorter
	}
	return l.postpone(id, v, wait, now)
}

// postpone records that id will be tried again after wait, which it returns. It forgets the
// ids that are too late.
func (l *deferred) postpone(id string, v visit, wait time.Duration, now moment) time.Duration {
	if l.visits == nil {
		l.visits = map[string]visit{}
	}
	v.until = now + wait + visitTimeout
	if v.number == 0 {
		v.until = now + wait + time.Hour // without a place it delays no other
	}
	l.visits[id] = v
	if now > l.purge {
		l.purge = now + time.Minute
		for id, v := range l.visits {
			if now <= v.until {
				continue
			}
			if delete(l.visits, id); v.number > 0 {
				l.done++
			}
		}
	}
	return wait
}

// Stretched reports whether the rate limit delays polls, so that a new wait should poll
// less often at first: other requests wait, the pace does not allow a poll of each of n
// waits per interval, or n is large and the limit does not last for one of each per two
// intervals.
func (o *Operation) Stretched(n int, interval time.Duration) bool {
	b := o.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	var others int64
	for _, q := range b.queues {
		if q.operation == o {
			others += int64(q.tickets.Len())
		}
	}
	return o.stretched(others, n, interval, b.at(time.Now()))
}

func (o *Operation) stretched(others int64, n int, interval time.Duration, now moment) bool {
	a, each := o.account(), interval/time.Duration(n)
	return others > 0 && a.pace(others+1, now) > interval/4 || a.spacing(1, now) > each || n > smallBatch && a.evenSpacing(now) > 2*each
}

// Until returns when requests are allowed again after a 429 or in an exhausted window. It
// returns the zero time if they are allowed now.
func (o *Operation) Until() time.Time {
	o.budget.mu.Lock()
	defer o.budget.mu.Unlock()
	return o.next(time.Now())
}

// next returns when a request may be sent, ignoring the pace; the zero time for now.
func (o *Operation) next(now time.Time) time.Time {
	at := o.budget.at(now)
	if d := o.account().next(at) - at; d > 0 {
		return now.Add(d)
	}
	return time.Time{}
}

// Start counts a request that does not wait, and returns the current time.
func (o *Operation) Start() time.Time {
	now := time.Now()
	o.budget.mu.Lock()
	defer o.budget.mu.Unlock()
	o.count(o.budget.at(now), 0)
	return now
}

// End records the response to a counted request. It returns whether the retry budget was
// exhausted before this response, and what Until returns.
func (o *Operation) End(r Response) (overspent bool, until time.Time) {
	b, t := o.budget, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.at(t)
	sent := now - max(t.Sub(r.Sent), 0)
	waiting := b.waiting() || o.deferred.number > o.deferred.done
	if r.Status != 0 && !b.separate {
		b.compare(o, &r, sent, now)
	}
	b.key.end(&r, sent, now, waiting)
	o.own.end(&r, sent, now, waiting)
	switch {
	case r.Good:
		b.retried = max(b.retried-1, 0)
	case r.Failed && b.retried+10 > 10*retryBudget:
		overspent = true
	case r.Failed:
		b.retried += 10
	}
	b.wakeNext()
	return overspent, o.next(t)
}

// Limits returns what is known of the windows at t. If operations have separate limits, it
// returns the lowest of each.
func (b *Budget) Limits(t time.Time) Limits {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.at(t)
	if !b.separate {
		return b.key.limits(now)
	}
	limits := Limits{{-1, -1, -1}, {-1, -1, -1}, {-1, -1, -1}}
	for _, o := range b.operations {
		for i, w := range o.own.limits(now) {
			if l := limits[i].Remaining; w.Remaining >= 0 && (l < 0 || w.Remaining < l) {
				limits[i] = w
			}
		}
	}
	return limits
}

// account returns the account that applies to o.
func (o *Operation) account() *account {
	if o.budget.separate {
		return &o.own
	}
	return &o.budget.key
}

func (o *Operation) count(now moment, late int64) {
	o.budget.key.count(now, late)
	o.own.count(now, late)
}

// wait returns how long the request with t must wait, and why. It returns maxPause if the
// request must wait for its turn.
func (q *Queue) wait(t *Ticket, now moment, last bool) (time.Duration, error) {
	o, b := q.operation, q.operation.budget
	wait, why := o.limit(now)
	if wait > 0 && why == nil && !last && !b.next(o, false, now).isFirst(t) {
		return maxPause, nil // thousands of requests must not check again and again
	}
	if wait > 0 || last {
		return wait, why
	}
	probes := !b.separate && b.key.blocked(now+resolution) // see limit
	if !b.next(o, !b.separate && !probes, now).isFirst(t) {
		return maxPause, nil
	}
	if probes {
		return 0, nil
	}
	return o.account().pace(1, now), nil
}

// next returns the queue whose turn it is, nil if all are empty. It looks at the queues of
// o, or of all operations except those that must wait long for a separate limit.
func (b *Budget) next(o *Operation, all bool, now moment) (next *Queue) {
	for _, q := range b.queues {
		if q.tickets.Len() == 0 || next != nil && q.served > next.served || q.operation != o && !all {
			continue
		}
		if q.operation != o {
			if wait, _ := q.operation.limit(now); wait > maxTurnWait {
				continue
			}
		}
		next = q
	}
	return next
}

// isFirst reports whether t is the first in q, or q is nil.
func (q *Queue) isFirst(t *Ticket) bool { return q == nil || q.tickets.Front().Value == t }

// waiting reports whether a request is in a queue.
func (b *Budget) waiting() bool {
	return slices.ContainsFunc(b.queues, func(q *Queue) bool { return q.tickets.Len() > 0 })
}

// wakeNext wakes the next request of each operation.
func (b *Budget) wakeNext() {
	for _, o := range b.operations {
		if next := b.next(o, false, 0); next != nil {
			select {
			case next.tickets.Front().Value.(*Ticket).wake <- struct{}{}: //nolint:forcetypeassert // nothing else is in it
			default: // it is awake already
			}
		}
	}
}

// limit returns how long no request of o may be sent, ignoring the pace, and why.
func (o *Operation) limit(now moment) (time.Duration, error) {
	b := o.budget
	if b.separate {
		return o.own.limit(now)
	}
	wait, why := b.key.limit(now)
	switch {
	case b.shared >= maxProbes:
	case wait <= 0:
		return o.own.limit(now) // its separate limit, if there is one, may be exhausted
	case o.own.inFlight == 0 && b.key.blocked(now+resolution) && !o.own.blocked(now):
		return 0, nil // a probe: one request to find out whether the limit is separate
	}
	return wait, why
}

// checkpoint is a state of a window, from which on the requests of an operation are compared
// with those of the others.
type checkpoint struct {
	remaining   int64
	own, others int64 // number of responses so far
}

// compare learns from a response to o whether operations share a limit.
func (b *Budget) compare(o *Operation, r *Response, sent, now moment) {
	probe := sent > b.key.blockedAt && b.key.blocked(now+resolution) && !o.own.blocked(now) &&
		r.Status < http.StatusInternalServerError // an error of a gateway has no meaning here
	if r.Status == tooManyRequests {
		if probe {
			b.shared++
		}
		for _, o := range b.operations {
			o.checkpoint = checkpoint{} // it is not known whether refused requests count
		}
		return
	}
	for _, i := range [...]int{1, 0, 2} {
		remaining := r.Limits[i].Remaining
		if remaining < 0 {
			continue
		}
		at := checkpoint{remaining, o.own.responses, b.key.responses - o.own.responses}
		used, own, others := o.checkpoint.remaining-remaining, at.own-o.checkpoint.own, at.others-o.checkpoint.others
		switch {
		case probe && (o.checkpoint == checkpoint{} || 0 <= used && used <= own): // not what others have used
			b.separate = true
		case used < 0 || remaining == 0: // it was reset, is new, or cannot become less
			o.checkpoint = at
		case others > 8+b.key.inFlight:
			if used < own+others/2 && used >= own*3/4 {
				b.separate = true
			} else if used >= own+others/2 {
				b.shared = maxProbes
			}
			o.checkpoint = at
		}
		return
	}
	if probe {
		b.separate = true
	}
}

// Mode is how the client counts a request.
type Mode int

// The modes. Immediate is the default.
const (
	Immediate Mode = iota // counted and sent at once
	Waits                 // counted and sent when the rate limit allows it
	Counted               // sent at once; the caller has counted it
)

type contextKey struct{}

type contextMode struct {
	budget *Budget
	mode   Mode
}

// With returns a context for a request with mode.
func (b *Budget) With(ctx context.Context, mode Mode) context.Context {
	return context.WithValue(ctx, contextKey{}, contextMode{b, mode})
}

// Mode returns the mode of a request with ctx.
func (b *Budget) Mode(ctx context.Context) Mode {
	if m, ok := ctx.Value(contextKey{}).(contextMode); ok && m.budget == b {
		return m.mode
	}
	return Immediate
}

// Of returns the budget of a client, nil if it has none. It is set by package gamma.
var Of func(client any) *Budget
