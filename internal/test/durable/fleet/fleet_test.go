//go:build unix

package fleet

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/postgres"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func TestFleet(t *testing.T) {
	f, err := Start(t)
	postgres.Skip(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	worker := func() {
		if _, err := f.StartWorker(200 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, f.Logs())
		}
	}
	worker()
	watching, err := f.Watching(ctx)
	check(err)
	worker()
	link := "https://export.example/a.pdf"
	for n := range 10 {
		check(f.Insert(ctx,
			Generation{ID: fmt.Sprint("completed", n), Steps: []gammatest.Step{gammatest.Pending(2), gammatest.Completed("")}, Outcome: Completed},
			Generation{ID: fmt.Sprint("failed", n), Steps: []gammatest.Step{gammatest.Failed(422, "no")}, Outcome: Failed},
			Generation{ID: fmt.Sprint("held", n), Steps: []gammatest.Step{gammatest.Completed("")}, Hold: time.Second, Outcome: Completed},
			Generation{ID: fmt.Sprint("exported", n), Export: true, Outcome: Exported,
				Steps: []gammatest.Step{gammatest.Completed(""), gammatest.Pending(1), gammatest.Completed(link)}},
		))
	}
	holding, err := f.InTransaction(ctx)
	check(err)
	holding.Kill()
	watching.Kill()
	worker()
	check(f.Postgres.Restart("fast"))
	check(f.Wait(ctx))
	sums, err := f.Sums(ctx)
	check(err)
	check(sums.Err())
	if sums.Outcomes != 40 || sums.SecondTry == 0 {
		t.Errorf("%+v", sums)
	}
	check(f.Forget(ctx))
}
