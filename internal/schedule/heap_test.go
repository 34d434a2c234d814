package schedule

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// Items can be removed from the middle and moved, in each of two queues.
func TestQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	a := queue[int]{less: func(a, b *item[int]) bool { return a.at < b.at }}
	b := queue[int]{less: func(a, b *item[int]) bool { return a.order < b.order }, id: 1}
	if a.first() != nil {
		t.Error("an empty queue has a first item")
	}
	var items []*item[int]
	for range 1000 {
		j := &item[int]{at: r.Int64N(100), order: r.Int64N(100)}
		items = append(items, j)
		a.add(j)
		b.add(j)
	}
	for _, j := range items[:300] {
		a.remove(j)
		b.remove(j)
	}
	items = items[300:]
	for _, j := range items[:300] {
		j.at, j.order = r.Int64N(100), r.Int64N(100)
		a.fix(j)
		b.fix(j)
	}
	slices.SortFunc(items, func(x, y *item[int]) int { return cmp.Compare(x.at, y.at) })
	for _, want := range items {
		got := a.first()
		if got.at != want.at {
			t.Fatalf("first is %d, want %d", got.at, want.at)
		}
		a.remove(got)
	}
	slices.SortFunc(items, func(x, y *item[int]) int { return cmp.Compare(x.order, y.order) })
	for _, want := range items {
		got := b.first()
		if got.order != want.order {
			t.Fatalf("first is %d, want %d", got.order, want.order)
		}
		b.remove(got)
	}
	if a.first() != nil || b.first() != nil {
		t.Error("a queue is not empty")
	}
}
