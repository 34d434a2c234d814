package main

import (
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if !asWorld() {
		m.Run()
	}
}

// TestSoak runs the soak test briefly.
func TestSoak(t *testing.T) {
	if err := run(t.Context(), t.Output(), settings{Time: 5 * time.Second, Generations: 50, Seed: 1}); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	// A completed generation, a failed one, one whose response was lost, and one that was
	// created after a 429.
	good := func() (ledger, report) {
		return ledger{
				creations: []creation{{id: "a"}, {id: "b"}, {lost: true}, {id: "d", refused: 1}},
				outcomes:  map[string][]string{"a": {"completed"}, "b": {"failed"}, "d": {"completed"}},
			}, report{
				Outcomes: map[string]string{"a": "completed", "b": "failed", "c": "unfinished", "d": "completed"},
				Posts:    map[string]int{"0": 1, "1": 1, "2": 1, "3": 2},
			}
	}
	for _, test := range []struct {
		name   string
		change func(*ledger, *report)
		want   string
	}{
		{"consistent", func(*ledger, *report) {}, ""},
		{"lost request", func(_ *ledger, r *report) { delete(r.Outcomes, "c") }, ""},
		{"wait that never ended", func(l *ledger, _ *report) { delete(l.outcomes, "a") }, "a: lost"},
		{"reported twice", func(l *ledger, _ *report) { l.outcomes["a"] = []string{"completed", "completed"} }, "a: ended 2 times"},
		{"wrong outcome", func(l *ledger, _ *report) { l.outcomes["b"] = []string{"completed"} }, "b: completed for the program, failed for the server"},
		{"completed too early", func(_ *ledger, r *report) { r.Outcomes["a"] = "unfinished" }, "a: completed for the program, unfinished for the server"},
		{"created twice", func(_ *ledger, r *report) { r.Outcomes["e"] = "unfinished" }, "5 generations, for 3 ids and 1 creates"},
		{"sent twice", func(_ *ledger, r *report) { r.Posts["2"] = 2 }, "create 2: 2 requests arrived"},
		{"sent twice after one 429", func(_ *ledger, r *report) { r.Posts["3"] = 3 }, "create 3: 3 requests arrived, after 1 refusals"},
		{"same id twice", func(l *ledger, _ *report) { l.creations[1].id = "a" }, "the id a for the second time"},
		{"neither id nor error", func(l *ledger, _ *report) { l.creations[2].lost = false }, "create 2: neither"},
		{"unknown to the server", func(_ *ledger, r *report) { delete(r.Outcomes, "a") }, "a: the server does not know it"},
		{"unknown to the program", func(l *ledger, _ *report) { l.outcomes["x"] = []string{"completed"} }, "x: ended, but was not created"},
		{"violation reported by the server", func(_ *ledger, r *report) { r.Errors = "too much" }, "the fake server: too much"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, r := good()
			test.change(&l, &r)
			switch err := l.check(r); {
			case err == nil && test.want != "":
				t.Errorf("no error, want %q", test.want)
			case err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %q, want %q", err, test.want)
			}
		})
	}
}

func TestFlat(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name  string
		heaps []uint64
		last  uint64
		flat  bool
	}{
		{"flat", []uint64{mib, 9 * mib, 5 * mib, 6 * mib, 5 * mib, 6 * mib}, mib, true},
		{"shrinking", []uint64{mib, 9 * mib, 8 * mib, 7 * mib, 4 * mib, 2 * mib}, mib, true},
		{"growing", []uint64{mib, 2 * mib, 3 * mib, 4 * mib, 5 * mib, 7 * mib}, mib, false},
		{"not freed at the end", []uint64{mib, 9 * mib, 9 * mib, 9 * mib, 9 * mib, 9 * mib}, 4 * mib, false},
	} {
		m := memory{heaps: test.heaps, last: test.last}
		if err := m.flat(); (err == nil) != test.flat {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
