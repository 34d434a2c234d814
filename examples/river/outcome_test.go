package main

import (
	"os"
	"strings"
	"testing"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertest"
	"github.com/riverqueue/river/rivertype"
)

func TestOutcome(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		steps   []gammatest.Step
		url     bool
		problem string
	}{
		"completed": {[]gammatest.Step{gammatest.Completed("")}, true, ""},
		"failed":    {[]gammatest.Step{gammatest.Failed(422, "too short")}, false, "too short"},
		"lost":      {[]gammatest.Step{gammatest.Status(404)}, false, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, row.steps...)
			w.work(worker{})
			w.untilTrue("the outcome is saved", `SELECT url IS NOT NULL OR problem IS NOT NULL FROM decks`)
			var problem string
			var url bool
			w.check(w.pool.QueryRow(t.Context(), `SELECT coalesce(problem, ''), url IS NOT NULL FROM decks`).Scan(&problem, &url))
			if url != row.url || !strings.Contains(problem, row.problem) || (problem == "") != (row.problem == "") {
				t.Errorf("url %v, problem %q", url, problem)
			}
			w.until("the job is completed", func() bool { return w.job(FinishArgs{}.Kind()).State == rivertype.JobStateCompleted })
		})
	}
}

// River's UI offers to retry a pending job. That the wait is lost shows in the job.
func TestRetriedByHand(t *testing.T) {
	w := newWorld(t, gammatest.Pending(1_000_000))
	client, _ := w.work(worker{})
	state := func() rivertype.JobState { return w.job(FinishArgs{}.Kind()).State }
	w.until("the job waits", func() bool { return state() == rivertype.JobStatePending })
	_, err := client.JobRetry(t.Context(), w.job(FinishArgs{}.Kind()).ID)
	w.check(err)
	w.until("the job is canceled", func() bool { return state() == rivertype.JobStateCancelled })
	if text := texts(w.job(FinishArgs{}.Kind())); !strings.Contains(text, "no result") {
		t.Errorf("errors %q", text)
	}
	ctx := rivertest.WorkContext(t.Context(), client)
	w.check(pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { // as an operator may, to wait again
		var id string
		if err := tx.QueryRow(ctx, `SELECT generation FROM decks`).Scan(&id); err != nil {
			return err
		}
		return insert(ctx, tx, id, FinishArgs{1})
	}))
	if !w.is(`SELECT count(*) = 1 FROM river_job WHERE kind = 'finish_deck' AND state = 'pending'`) {
		t.Error("no job waits for the generation again")
	}
}

// The package comment of riverwait has the worker of outcome.go.
func TestManual(t *testing.T) {
	outcome := readFile(t, "outcome.go")
	_, worker, _ := strings.Cut(outcome, "func (w *FinishWorker) Work")
	worker, _, found := strings.Cut(worker, "\n}\n")
	if !found {
		t.Fatal("outcome.go has no worker")
	}
	worker = "func (w *FinishWorker) Work" + worker + "\n}\n"
	comment := "//\t" + strings.ReplaceAll(strings.TrimSuffix(worker, "\n"), "\n", "\n//\t") + "\n"
	if !strings.Contains(readFile(t, "../../poller/riverwait/doc.go"), comment) {
		t.Errorf("the package comment of riverwait does not have this worker:\n%s", comment)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
