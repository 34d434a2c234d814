// Package ratelimit keeps the requests of a process within the rate limit of an API key.
//
// A [Budget] belongs to a client; each operation of the API has an [Operation] of it.
// Every request is counted before it is sent and again when its response has come.
// Requests that may wait ask [Operation.Admit] first, in the order in which they joined
// the queue. What is known of the limit comes from three sources: the rate-limit
// headers, Retry-After, and 429 itself, from which a rate that the server accepts is
// learned.
//
// It is not documented whether the API counts by key or by operation. A Budget takes it
// as one until a response shows otherwise: an operation that is refused may hold back
// the others for as long as it takes one of their requests to be accepted.
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

	// retries is how many failed requests may be repeated sooner than by the longest
	// pause. A good response earns a tenth of one, so that in an outage clients send
	// hardly anything.
	retries = 100

	// soonEnough is how long an operation that must wait keeps its turn.
	soonEnough = 5 * time.Second

	// likely is how often an operation may be refused when it finds out whether
	// another's limit is its own, until that is believed.
	likely = 2

	// keepsPlace is how much later than it was told a request may come again. Programs
	// that look at all of their ids every few minutes come late.
	keepsPlace = 5 * time.Minute

	// batch is how many waits of a call of All are too few to spare requests for others.
	batch = 16
)

// Budget is the rate limit of one key as far as this process knows it. The zero Budget is
// ready to use. It is safe for concurrent use.
type Budget struct {
	mu         sync.Mutex
	start      time.Time // of its moments
	key        account   // by the responses of all operations
	operations []*Operation
	queues     []*Queue
	admitted   int64 // requests that were admitted
	separate   bool  // operations have limits of their own
	shared     int   // how often that was found wrong
	retried    int   // of the retry budget, in tenths
}

// Operation is one operation's part of a [Budget]. It is safe for concurrent use. The
// embedded Queue is that of all requests without a queue of their own.
type Operation struct {
	*Queue
	name   string
	budget *Budget
	own    account // by its own responses
	mark   mark

	later later
}

// later is what Try has put off.
type later struct {
	visits       map[string]visit // by id
	number, gone int64            // requests that have come, and those of them that were sent or given up
	served       int64            // when the last one was sent
	purge        moment           // when those that do not come again are given up next
}

type visit struct {
	number int64  // 0 if it has no place yet
	until  moment // it is given up
}

// Queue holds the waiting requests of one operation in order. The queues of a Budget take turns.
type Queue struct {
	operation *Operation
	tickets   list.List // of *Ticket
	served    int64     // when the last one was admitted
}

// Ticket is the place of a request in a queue. Admit puts it there if it must wait.
type Ticket struct {
	wake    chan struct{}
	element *list.Element
}

// Wake returns a channel that is sent to when it is time to ask Admit again; nil before
// the first time that the request had to wait.
func (t *Ticket) Wake() <-chan struct{} { return t.wake }

// Response is what a request led to. The zero Response means that none came.
type Response struct {
	Status     int
	RetryAfter time.Duration
	Limits     Limits
	Sent       time.Time // when the request was sent
	Err        error     // that of a 429, for who must wait because of it

	// Good and Failed count for the retry budget.
	Good, Failed bool
}

// Operation returns the operation of that name, always the same.
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

// NewQueue returns another queue of the operation, which Close removes.
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

// Counted returns a context for a request that the caller counts.
func (o *Operation) Counted(ctx context.Context) context.Context {
	return o.budget.With(ctx, Counted)
}

// Admit counts a request and returns 0 if it may be sent now. Otherwise it puts t into the
// queue, unless it is there, and returns when to ask again if Wake is silent until then,
// and the error of the response that forbids the request, if one does. last is for the
// last request before a deadline: it need not wait for its turn nor keep the pace.
func (q *Queue) Admit(t *Ticket, now time.Time, last bool) (time.Duration, error) {
	o, b := q.operation, q.operation.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !last && t.element == nil && b.waiting() {
		q.join(t) // before it asks, since it may be its turn
	}
	at := b.at(now)
	wait, why := q.wait(t, at, last)
	switch {
	case wait <= 0:
		q.remove(t)
		t.wake = nil // a wait may keep its Ticket for long
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

// Leave takes a request out of the queue that will not be sent.
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

// Acquire waits until a request may be sent and counts it. It returns the error of ctx,
// or at once the error of the response that forbids requests until after its deadline. It
// calls tell, if not nil, before each pause of a second or more whose end is known. tell
// must not panic.
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
		if tell != nil && wait >= time.Second && wait < maxPause { // maxPause waits for a turn
			tell(why, wait)
		}
		Sleep(ctx, wait, &t)
	}
}

// Sleep returns after d, when ctx is done, or when t is to ask again.
func Sleep(ctx context.Context, d time.Duration, t *Ticket) {
	select {
	case <-time.After(d):
	case <-t.wake:
	case <-ctx.Done():
	}
}

// Try is Admit for a request that is not waited for, but may come again under the same id
// after the time that it returns. Those that it puts off come in their order. One that has
// not come before is put off for first if the rate limit makes polls late; see Stretched.
func (o *Operation) Try(id string, t time.Time, interval, first time.Duration) time.Duration {
	b := o.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now, l := b.at(t), &o.later
	v, ok := l.visits[id]
	if !ok && first > 0 && o.stretched(l.number-l.gone, 1, interval, now) {
		return l.putOff(id, visit{}, first, now)
	}
	if v.number == 0 {
		l.number++
		v.number = l.number
	}
	wait, why := o.limit(now)
	if wait <= 0 {
		// One less than its place: it asks at its own times, and those in the queues when
		// it is time. But it does not take two turns before one of theirs.
		place := max(v.number-l.gone-1, 0)
		if next := b.next(o, !b.separate, now); next != nil && next.served < l.served {
			place += 2
		}
		wait = o.account().pace(place, now)
	}
	if wait <= 0 {
		delete(l.visits, id)
		l.gone++
		b.admitted++
		l.served = b.admitted
		o.count(now, l.number-l.gone)
		return 0
	}
	if why == nil {
		wait = max(wait/2, min(wait, time.Second)) // it may become shorter
	}
	return l.putOff(id, v, wait, now)
}

// putOff notes that v comes again after wait, which it returns. It gives up those that
// have not come again for long.
func (l *later) putOff(id string, v visit, wait time.Duration, now moment) time.Duration {
	if l.visits == nil {
		l.visits = map[string]visit{}
	}
	v.until = now + wait + keepsPlace
	if v.number == 0 {
		v.until = now + wait + time.Hour // it delays no other
	}
	l.visits[id] = v
	if now > l.purge {
		l.purge = now + time.Minute
		for id, v := range l.visits {
			if now <= v.until {
				continue
			}
			if delete(l.visits, id); v.number > 0 {
				l.gone++
			}
		}
	}
	return wait
}

// Stretched reports whether the rate limit makes polls late, so that a new wait had better
// spare its first ones: others wait for it, its pace takes longer than interval for a poll
// of each of n waits, or n is large and it does not last for one of each in two intervals.
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
	return others > 0 && a.pace(others+1, now) > interval/4 || a.spacing(1, now) > each || n > batch && a.even(now) > 2*each
}

// Until returns until when a 429 or a spent window forbids requests, the zero time
// if none does.
func (o *Operation) Until() time.Time {
	o.budget.mu.Lock()
	defer o.budget.mu.Unlock()
	return o.next(time.Now())
}

// next returns when a request may be sent, whatever the pace, the zero time for at once.
func (o *Operation) next(now time.Time) time.Time {
	at := o.budget.at(now)
	if d := o.account().next(at) - at; d > 0 {
		return now.Add(d)
	}
	return time.Time{}
}

// Begin counts a request that does not wait, and returns when it is sent.
func (o *Operation) Begin() time.Time {
	now := time.Now()
	o.budget.mu.Lock()
	defer o.budget.mu.Unlock()
	o.count(o.budget.at(now), 0)
	return now
}

// End takes in the response to a counted request. It reports whether the retry budget
// was spent before this response, and what Until returns.
func (o *Operation) End(r Response) (overspent bool, until time.Time) {
	b, t := o.budget, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.at(t)
	sent := now - max(t.Sub(r.Sent), 0)
	waiting := b.waiting() || o.later.number > o.later.gone
	if r.Status != 0 && !b.separate {
		b.compare(o, &r, sent, now)
	}
	b.key.end(&r, sent, now, waiting)
	o.own.end(&r, sent, now, waiting)
	switch {
	case r.Good:
		b.retried = max(b.retried-1, 0)
	case r.Failed && b.retried+10 > 10*retries:
		overspent = true
	case r.Failed:
		b.retried += 10
	}
	b.wakeNext()
	return overspent, o.next(t)
}

// Limits returns what is known of the windows at t. Where operations have limits of
// their own it is the least of each.
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

// account returns the account that o is bound by.
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

// wait returns how long the request with t must wait, and why; maxPause for its turn.
func (q *Queue) wait(t *Ticket, now moment, last bool) (time.Duration, error) {
	o, b := q.operation, q.operation.budget
	wait, why := o.limit(now)
	if wait > 0 && why == nil && !last && !b.next(o, false, now).isFirst(t) {
		return maxPause, nil // thousands must not ask again and again
	}
	if wait > 0 || last {
		return wait, why
	}
	probes := !b.separate && b.key.blocked(now) // see limit
	if !b.next(o, !b.separate && !probes, now).isFirst(t) {
		return maxPause, nil
	}
	if probes {
		return 0, nil
	}
	return o.account().pace(1, now), nil
}

// next returns the queue whose turn it is, of those of o, or of all operations except
// those that are held back for long by a limit of their own; nil if they are empty.
func (b *Budget) next(o *Operation, all bool, now moment) (next *Queue) {
	for _, q := range b.queues {
		if q.tickets.Len() == 0 || next != nil && q.served > next.served || q.operation != o && !all {
			continue
		}
		if q.operation != o {
			if wait, _ := q.operation.limit(now); wait > soonEnough {
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

// wakeNext lets the next of each operation ask again.
func (b *Budget) wakeNext() {
	for _, o := range b.operations {
		if next := b.next(o, false, 0); next != nil {
			select {
			case next.tickets.Front().Value.(*Ticket).wake <- struct{}{}: //nolint:forcetypeassert // nothing else is in it
			default: // it has not yet asked since the last time
			}
		}
	}
}

// limit returns how long no request of o may be sent, whatever the pace, and why.
func (o *Operation) limit(now moment) (time.Duration, error) {
	b := o.budget
	if b.separate {
		return o.own.limit(now)
	}
	wait, why := b.key.limit(now)
	switch {
	case b.shared >= likely:
	case wait <= 0:
		return o.own.limit(now) // what another may send may be too much for this one
	case o.own.inFlight == 0 && b.key.blocked(now) && !o.own.blocked(now):
		return 0, nil // one request to find out whether the limit is another's
	}
	return wait, why
}

// mark is a moment of an operation from which its use of a window is compared with that
// of the others.
type mark struct {
	remaining   int64
	own, others int64 // responses until then
}

// compare learns from the response to a request of o whether operations share a limit.
func (b *Budget) compare(o *Operation, r *Response, sent, now moment) {
	if sent > b.key.blockedAt && b.key.blocked(now) && !o.own.blocked(now) {
		switch {
		case r.Status == tooManyRequests:
			b.shared++
		case r.Status < http.StatusInternalServerError: // a gateway's error tells nothing
			b.separate = true
		}
		return
	}
	for _, i := range [...]int{1, 0, 2} {
		remaining := r.Limits[i].Remaining
		if remaining < 0 {
			continue
		}
		at := mark{remaining, o.own.responses, b.key.responses - o.own.responses}
		used, own, others := o.mark.remaining-remaining, at.own-o.mark.own, at.others-o.mark.others
		switch {
		case used < 0 || remaining == 0: // it was reset, or is new, or cannot fall any more
			o.mark = at
		case others > 8+b.key.inFlight:
			if used < own+others/2 && used >= own*3/4 {
				b.separate = true
			} else if used >= own+others/2 {
				b.shared = likely
			}
			o.mark = at
		}
		return
	}
}

// Mode is who counts a request.
type Mode int

// The modes; Immediate is the default.
const (
	Immediate Mode = iota // the client, which sends it at once
	Waits                 // the client, which waits until it may be sent
	Counted               // the caller
)

type contextKey struct{}

type contextMode struct {
	budget *Budget
	mode   Mode
}

// With returns a context for a request of mode.
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

// Of returns the budget of a client, nil if it has none. Package gamma sets it.
var Of func(client any) *Budget
