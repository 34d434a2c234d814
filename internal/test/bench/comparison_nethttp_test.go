package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// netHTTP is what programs write with net/http alone. This file imports the standard
// library only: TestComparison looks.
type netHTTP struct {
	client *http.Client
	base   string
}

// statusError is any status except 200 and 201.
type statusError int

func (e statusError) Error() string { return strconv.Itoa(int(e)) + " " + http.StatusText(int(e)) }

// send sends a request with the key, and decodes the response to out.
func (n netHTTP) send(ctx context.Context, method, url, body string, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-API-KEY", key)
	req.Header.Set("Content-Type", "application/json")
	rsp, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK && rsp.StatusCode != http.StatusCreated {
		return rsp.Header, statusError(rsp.StatusCode)
	}
	return rsp.Header, json.NewDecoder(rsp.Body).Decode(out)
}

func (n netHTTP) create(ctx context.Context) (string, error) {
	var created struct{ GenerationID string }
	_, err := n.send(ctx, http.MethodPost, n.base+strings.TrimSuffix(path, "/"), `{"inputText":"x","textMode":"generate"}`, &created)
	return created.GenerationID, err
}

func (n netHTTP) poll(ctx context.Context, id string) (string, http.Header, error) {
	var gen struct{ Status string }
	header, err := n.send(ctx, http.MethodGet, n.base+path+id, "", &gen)
	return gen.Status, header, err
}

// download is the obvious way to save a file.
func (n netHTTP) download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	rsp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return statusError(rsp.StatusCode)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, rsp.Body)
	return errors.Join(err, f.Close())
}

// pause returns early if ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// docsSamples is the loop of the samples in the vendor's documentation: sleep first, 60
// attempts 5 seconds apart, and any status but success ends it. It takes all advice from
// the text beside them: 15 seconds while fewer than 100 requests remain in the burst
// window, and after a 429 the Retry-After or, without one, 30 seconds that double if
// the 429 repeats.
type docsSamples struct{ netHTTP }

func (n docsSamples) wait(ctx context.Context, id string) (status string, err error) {
	delay, limited := 5*time.Second, 30*time.Second
	for range 60 {
		if err := pause(ctx, delay); err != nil {
			return "", err
		}
		status, header, err := n.poll(ctx, id)
		switch {
		case errors.Is(err, statusError(http.StatusTooManyRequests)):
			delay, limited = limited, 2*limited
			if s, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
				delay = time.Duration(s) * time.Second
			}
			continue
		case err != nil:
			return "", err
		case status == "completed" || status == "failed":
			return status, nil
		}
		delay, limited = 5*time.Second, 30*time.Second
		if n, err := strconv.Atoi(header.Get("X-Ratelimit-Remaining-Burst")); err == nil && n < 100 {
			delay = 15 * time.Second
		}
	}
	return "", fmt.Errorf("%s has not finished", id)
}

// ticking polls with every tick, and takes any error for a reason to try again, until the
// deadline.
type ticking struct{ netHTTP }

func (n ticking) wait(ctx context.Context, id string) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-ticker.C:
		}
		if status, _, err := n.poll(ctx, id); err == nil && (status == "completed" || status == "failed") {
			return status, nil
		}
	}
}
