package poller

import "container/heap"

// queue is a heap of jobs by one of their times. A job knows its place in each
// queue that it is in, so that it can leave from the middle.
type queue struct {
	jobs []*job
	by   func(*job) int64
	slot int // of job.place
}

func (q *queue) Len() int           { return len(q.jobs) }
func (q *queue) Less(i, j int) bool { return q.by(q.jobs[i]) < q.by(q.jobs[j]) }

func (q *queue) Swap(i, j int) {
	q.jobs[i], q.jobs[j] = q.jobs[j], q.jobs[i]
	q.jobs[i].place[q.slot], q.jobs[j].place[q.slot] = int32(i), int32(j)
}

func (q *queue) Push(x any) {
	j := x.(*job)
	j.place[q.slot] = int32(len(q.jobs))
	q.jobs = append(q.jobs, j)
}

func (q *queue) Pop() any {
	last := len(q.jobs) - 1
	j := q.jobs[last]
	q.jobs[last] = nil
	q.jobs = q.jobs[:last]
	return j
}

func (q *queue) add(j *job)    { heap.Push(q, j) }
func (q *queue) remove(j *job) { heap.Remove(q, int(j.place[q.slot])) }

// first returns the job with the least time, nil if there is none.
func (q *queue) first() *job {
	if len(q.jobs) == 0 {
		return nil
	}
	return q.jobs[0]
}
