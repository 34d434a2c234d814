package schedule

import "container/heap"

// queue is a heap of items. An item has its index in each queue, so that it can be removed
// from the middle.
type queue[J any] struct {
	items []*item[J]
	less  func(a, b *item[J]) bool
	id    int // the index of this queue in item.index
}

func (q *queue[J]) Len() int           { return len(q.items) }
func (q *queue[J]) Less(i, j int) bool { return q.less(q.items[i], q.items[j]) }

func (q *queue[J]) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].index[q.id], q.items[j].index[q.id] = int32(i), int32(j)
}

func (q *queue[J]) Push(x any) {
	j := x.(*item[J])
	j.index[q.id] = int32(len(q.items))
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
func (q *queue[J]) fix(j *item[J])    { heap.Fix(q, int(j.index[q.id])) }
func (q *queue[J]) remove(j *item[J]) { heap.Remove(q, int(j.index[q.id])) }

// first returns the least item, nil if there is none.
func (q *queue[J]) first() *item[J] {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}
