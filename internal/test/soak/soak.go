package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/gammatest"
	"github.com/gamma-sdk/gamma-go/internal/test/sample"
	"github.com/gamma-sdk/gamma-go/poller"
)

const (
	creators      = 8
	notAllEvery   = 10 // every so many generations one is not waited for by All
	downloadEvery = 20 // completed generations
)

// soak is a program as a user of the SDK would write it: it creates, waits, downloads, and
// retries what may be retried.
type soak struct {
	settings
	addresses
	dir       string
	transport *http.Transport
	client    *gamma.Client
	poller    *poller.Poller
	work      sync.WaitGroup // waits and downloads

	mu sync.Mutex
	ledger
	polls   int
	faults  map[string]int // polls without a status, by kind
	resumed int            // waits that ended early or were interrupted
	again   int            // downloads that were retried
	err     error
}

func newSoak(s settings, a addresses, dir string) (*soak, error) {
	transport := gamma.NewTransport()
	k := &soak{
		settings:  s,
		addresses: a,
		dir:       dir,
		transport: transport,
		ledger:    ledger{creations: make([]creation, s.Generations), outcomes: make(map[string][]string, s.Generations)},
		faults:    make(map[string]int),
	}
	client, err := k.newClient()
	if err != nil {
		return nil, err
	}
	k.client, k.poller = client, poller.New(client)
	k.poller.Interval = s.part(600, 50*time.Millisecond, time.Second)
	k.poller.Timeout = s.Time / 5 // some take longer
	k.poller.OnPoll = k.count
	return k, nil
}

func (k *soak) newClient(opts ...gamma.Option) (*gamma.Client, error) {
	return gamma.NewClient(gammatest.Key, append(opts, gamma.WithBaseURL("http://"+k.API),
		gamma.WithHTTPClient(&http.Client{Transport: k.transport}), gamma.WithRequestTimeout(k.part(200, time.Second, 3*time.Second)))...)
}

// run returns when all generations and downloads have ended.
func (k *soak) run(ctx context.Context) {
	jobs := make(chan poller.Progress)
	k.work.Go(func() {
		for result := range k.poller.All(ctx, poller.FromChan(ctx, jobs)) {
			k.ended(ctx, result.Generation, result.Err)
		}
	})
	var creating sync.WaitGroup
	numbers := make(chan int)
	for range creators {
		creating.Go(func() {
			for n := range numbers {
				if id := k.create(ctx, n); id != "" {
					k.wait(ctx, n, poller.Progress{ID: id, Export: true}, jobs)
				}
			}
		})
	}
	spread := k.Time * 6 / 10 / time.Duration(k.Generations)
	start := time.Now()
	for n := range k.Generations {
		pause(ctx, time.Until(start.Add(time.Duration(n)*spread)))
		numbers <- n
	}
	close(numbers)
	creating.Wait()
	close(jobs)
	k.work.Wait()
}

// creator returns a client for one create. It marks its requests and counts the 429
// responses: only after these may Create send another request.
func (k *soak) creator(n int, refused *int) (*gamma.Client, error) {
	client, err := k.newClient(gamma.WithOnRetry(func(r gamma.Retry) {
		if errors.Is(r.Err, gamma.ErrRateLimited) {
			*refused++
		}
	}))
	if err != nil {
		return nil, err
	}
	client.ClientInterface.(*api.Client).RequestEditors = []api.RequestEditorFn{func(_ context.Context, req *http.Request) error { //nolint:forcetypeassert // as NewClient makes it
		req.Header.Set(createHeader, strconv.Itoa(n))
		return nil
	}}
	return client, nil
}

var document = sample.New(gamma.OpenAPI())

// text returns a request with an export and what the OpenAPI document requires.
func text(input string) api.GenerationRequest {
	return sample.Request(document, "createGeneration", api.GenerationRequest{InputText: input, ExportAs: "pdf"})
}

// create creates generation n. It returns an empty id if no response arrived. It retries
// errors after which no generation can exist.
func (k *soak) create(ctx context.Context, n int) (id string) {
	c := &k.creations[n]
	client, err := k.creator(n, &c.refused)
	if err != nil {
		k.fail(err)
		return ""
	}
	for ctx.Err() == nil {
		created, err := client.CreateGeneration(ctx, text("A short history of tea, chapter "+strconv.Itoa(n)))
		if errors.Is(err, gamma.ErrRateLimited) {
			c.refused++
		}
		var apiErr *gamma.APIError
		var invalid *gamma.InvalidRequestError
		switch {
		case err == nil:
			c.id = created.GenerationID
			return c.id
		case errors.Is(err, gamma.ErrMaybeCreated):
			c.lost = true
			return ""
		case errors.As(err, &apiErr) && !errors.Is(err, gamma.ErrRateLimited), errors.As(err, &invalid):
			k.fail(err)
			return ""
		}
		pause(ctx, time.Second)
	}
	return ""
}

// wait waits for generation n with WaitExport, Watch or All.
func (k *soak) wait(ctx context.Context, n int, job poller.Progress, all chan<- poller.Progress) {
	switch n % (2 * notAllEvery) {
	case 0:
		k.work.Go(func() {
			gen, err := k.poller.WaitExport(ctx, job.ID)
			k.ended(ctx, gen, err)
		})
	case notAllEvery:
		k.work.Go(func() { k.watch(ctx, job, 1+k.rand(n).IntN(10)) })
	default:
		select {
		case all <- job:
		case <-ctx.Done():
		}
	}
}

// watch waits from progress on. After a number of polls it interrupts the wait and resumes it
// from its saved progress, as a program that is restarted does. It also resumes a wait that
// ended early.
func (k *soak) watch(ctx context.Context, progress poller.Progress, polls int) {
	for ctx.Err() == nil {
		saved, err := json.Marshal(progress)
		if err != nil {
			k.fail(err)
			return
		}
		progress = poller.Progress{}
		if err := json.Unmarshal(saved, &progress); err != nil {
			k.fail(err)
			return
		}
		var ev poller.Event
		for ev, err = range k.poller.Watch(ctx, progress) {
			if polls--; polls == 0 {
				break
			}
		}
		progress = ev.Progress
		var stopped *poller.WaitError
		switch {
		case errors.As(err, &stopped):
			pause(ctx, 6*k.poller.Interval)
		case ev.Next == 0:
			k.ended(ctx, ev.Generation, err)
			return
		}
		k.tally(&k.resumed)
	}
}

// ended records how a wait ended.
func (k *soak) ended(ctx context.Context, gen *api.GenerationStatusResponse, err error) {
	var failed *poller.FailedError
	var stopped *poller.WaitError
	switch {
	case err == nil:
		if k.record(gen.GenerationID, api.GenerationStatusCompleted)%downloadEvery == 1 {
			k.work.Go(func() { k.download(ctx, gen) })
		}
	case errors.As(err, &failed):
		k.record(failed.ID, api.GenerationStatusFailed)
	case !errors.As(err, &stopped):
		k.fail(err)
	case ctx.Err() == nil:
		k.work.Go(func() {
			pause(ctx, 6*k.poller.Interval)
			k.tally(&k.resumed)
			k.watch(ctx, stopped.Progress, 0)
		})
	}
}

// download downloads the export of gen through the second proxy.
func (k *soak) download(ctx context.Context, gen *api.GenerationStatusResponse) {
	link, err := url.Parse(gen.ExportURL)
	if err != nil {
		k.fail(errors.New("the export URL is not a URL"))
		return
	}
	link.Host = k.Exports
	for ctx.Err() == nil {
		if err = k.client.DownloadFile(ctx, link.String(), k.file(gen.GenerationID)); err == nil {
			k.mu.Lock()
			k.downloads = append(k.downloads, gen.GenerationID)
			k.mu.Unlock()
			return
		}
		if errors.Is(err, gamma.ErrLinkExpired) {
			break
		}
		k.tally(&k.again)
		pause(ctx, time.Second)
	}
	k.fail(fmt.Errorf("the download of %s: %w", gen.GenerationID, err))
}

func (k *soak) file(id string) string { return filepath.Join(k.dir, id+".pdf") }

// count counts a poll.
func (k *soak) count(ev poller.Event) {
	var apiErr *gamma.APIError
	kind := ""
	switch {
	case ev.Err == nil:
	case errors.As(ev.Err, &apiErr):
		kind = strconv.Itoa(apiErr.StatusCode)
	case errors.Is(ev.Err, gamma.ErrUnexpectedResponse):
		kind = "unexpected response"
	case errors.Is(ev.Err, context.DeadlineExceeded):
		kind = "no response in time"
	default:
		kind = "no response"
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.polls++
	if kind != "" {
		k.faults[kind]++
	}
}

func (k *soak) tally(n *int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*n++
}

// record records an outcome and returns the number of outcomes with that status.
func (k *soak) record(id string, status api.GenerationStatus) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outcomes[id] = append(k.outcomes[id], string(status))
	if status == api.GenerationStatusCompleted {
		k.completed++
		return k.completed
	}
	k.failed++
	return k.failed
}

func (k *soak) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = errors.Join(k.err, err)
}

// checkFiles compares the downloaded files with the exports. There must be no other files.
func (k *soak) checkFiles(r report) error {
	var errs []error
	expected := make(map[string]bool)
	for _, id := range k.downloads {
		expected[filepath.Base(k.file(id))] = true
		data, err := os.ReadFile(k.file(id))
		if sum := sha256.Sum256(data); err == nil && hex.EncodeToString(sum[:]) != r.Exports[id] {
			err = fmt.Errorf("the download of %s, %d bytes, is not its export", id, len(data))
		}
		errs = append(errs, err)
	}
	left, err := os.ReadDir(k.dir)
	errs = append(errs, err)
	for _, entry := range left {
		if !expected[entry.Name()] {
			errs = append(errs, fmt.Errorf("the file %s is left behind", entry.Name()))
		}
	}
	return errors.Join(errs...)
}

func (k *soak) summary(w io.Writer, r report, m *memory, took time.Duration) {
	created, lost := k.created()
	mib := func(n uint64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }
	most := m.thirds()
	for _, line := range [][2]string{
		{"run", fmt.Sprintf("%d generations, seed %d, %v", k.Generations, k.Seed, took.Round(time.Second/10))},
		{"created", fmt.Sprintf("%d, and %d creates without a response, of which the server made %d", created, lost, len(r.Outcomes)-created)},
		{"ended", fmt.Sprintf("%d completed, %d failed", k.completed, k.failed)},
		{"polls", fmt.Sprintf("%d, of which %d arrived; waits resumed: %d", k.polls, r.Polls, k.resumed)},
		{"  without a status", list(k.faults)},
		{"proxy faults", list(r.Faults)},
		{"downloads", fmt.Sprintf("%d, retried: %d", len(k.downloads), k.again)},
		{"heap", fmt.Sprintf("%s at the start, maximum of each third %s, %s, %s, %s at the end", mib(m.heaps[0]), mib(most[0]), mib(most[1]), mib(most[2]), mib(m.last))},
	} {
		_, _ = fmt.Fprintf(w, "%-20s%s\n", line[0], line[1])
	}
}

// list formats counts, sorted by name.
func list(counts map[string]int) string {
	lines := make([]string, 0, len(counts))
	for name, n := range counts {
		lines = append(lines, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// pause returns after d or when ctx is done.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
