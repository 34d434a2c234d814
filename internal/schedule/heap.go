package schedule

import "container/heap"

// queue is a heap of items. An item knows its place in each queue that it is in, so
// that it can be removed from the middle.
type queue[J any] struct {
	items []*item[J]
	less  func(a, b *item[J]) bool
	index int // of item.place
}

func (q *queue[J]) Len() int           { return len(q.items) }
func (q *queue[J]) Less(i, j int) bool { return q.less(q.items[i], q.items[j]) }

func (q *queue[J]) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].place[q.index], q.items[j].place[q.index] = int32(i), int32(j)
}

func (q *queue[J]) Push(x any) {
	j := x.(*item[J])
	j.place[q.index] = int32(len(q.items))
	q.items = append(q.items, j)
}

func (q *queue[J]) Pop() any {
	last := len(q.items) - 1
	j := q.items[last]
	q.items[last] = nil
	q.items = q.items[:last]
	return j
}

func (q *queue[J]) add(j *item[J])    { heap.Push(q, j) }
func (q *queue[J]) fix(j *item[J])    { heap.Fix(q, int(j.place[q.index])) }
func (q *queue[J]) remove(j *item[J]) { heap.Remove(q, int(j.place[q.index])) }

// first returns the least item, nil if there is none.
func (q *queue[J]) first() *item[J] {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}
