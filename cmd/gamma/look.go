package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/gamma-sdk/gamma-go"
	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/poller"
	"github.com/spf13/cobra"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status ID...",
		Short: "Show the status of generations",
		Long: `Shows the status of each generation, without waiting. A line has the id, the status, the
URL of the Gamma, the request id, which Gamma's support asks for, and what remains of the
rate limit, separated by tabs.

A pending generation is not an error. A failed one is exit code 3.`,
		Example: `  gamma status abc123
  gamma status --json abc123 | jq .rateLimit`,
		Args:              arguments(1, -1, "the id of a generation"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, ids []string) error {
			return a.each(cmd.Context(), "generationId", ids, a.status)
		},
	}
}

// each calls f for each id. An invalid id is an error before the first request. each prints an
// error of f, in JSON with the id as field, and continues.
func (a *app) each(ctx context.Context, field string, ids []string, f func(context.Context, *gamma.Client, string) error) error {
	for i, id := range ids {
		if err := checkID(id); err != nil {
			return usage("argument %d: %w", i+1, err)
		}
	}
	ctx, release := a.interrupts(ctx, nil)
	defer release()
	client, err := a.client(ctx)
	if err != nil {
		return err
	}
	var codes []int
	for _, id := range ids {
		err := f(ctx, client, id)
		if err != nil && (ctx.Err() != nil || as[writeError](err)) {
			return err
		}
		codes = append(codes, exitCode(err))
		switch {
		case err == nil, as[exitError](err):
		case a.json:
			if err := a.printJSON(map[string]any{field: id, "error": errorFields(err, nil)}); err != nil {
				return err
			}
		default:
			a.note("%s: %s", id, message(err))
		}
	}
	return exit(codes)
}

// checkID returns why id is invalid. The error does not contain id, which may be a key in the
// wrong place.
func checkID(id string) error {
	if keys.MatchString(id) {
		return errors.New("this is an API key, not an id")
	}
	const operation = "GET /v1.0/generations/{id}: "
	// The request is not sent.
	if _, err := api.NewGetGenerationStatusRequest("https://localhost", id); err != nil {
		return errors.New(strings.TrimPrefix(message(err), operation))
	}
	return nil
}

func (a *app) status(ctx context.Context, client *gamma.Client, id string) error {
	rsp, err := client.GetGenerationStatusWithResponse(ctx, id)
	if err != nil {
		return err
	}
	if rsp.JSON200 == nil {
		return gamma.ErrUnexpectedResponse
	}
	header := rsp.HTTPResponse.Header
	requestID, limits := header.Get("X-Request-Id"), gamma.RateLimitOf(header)
	r := record{GenerationID: id, Generation: rsp.JSON200, Err: failure(id, rsp.JSON200)}
	if a.json {
		fields := r.fields()
		if requestID != "" {
			fields["requestId"] = requestID
		}
		if windows := windowFields(limits); len(windows) > 0 {
			fields["rateLimit"] = windows
		}
		err = a.printJSON(fields)
	} else {
		err = a.printLine(id, string(r.Generation.Status), r.Generation.GammaURL, requestID, windowText(limits))
		if err == nil && r.Err != nil {
			a.note("%s", message(r.Err))
		}
	}
	if err == nil && r.Err != nil {
		err = exitError{exitCode(r.Err)}
	}
	return err
}

// failure returns the error of a failed generation, nil for any other.
func failure(id string, gen *api.GenerationStatusResponse) error {
	if gen.Status != "failed" {
		return nil
	}
	e := &poller.FailedError{Progress: poller.Progress{ID: id}, Generation: gen}
	if own, ok := object(gen)["error"].(map[string]any); ok {
		e.Message = gamma.Printable(text(own["message"]))
		if code, ok := own["statusCode"].(interface{ Int64() (int64, error) }); ok {
			n, _ := code.Int64()
			e.StatusCode = int(n)
		}
	}
	return e
}

type namedWindow struct {
	name string
	gamma.Window
}

func windows(limits gamma.RateLimit) iter.Seq[namedWindow] {
	return func(yield func(namedWindow) bool) {
		for _, w := range []namedWindow{{"burst", limits.Burst}, {"hour", limits.Hour}, {"day", limits.Day}} {
			if w.Remaining >= 0 && !yield(w) {
				return
			}
		}
	}
}

func windowFields(limits gamma.RateLimit) map[string]any {
	fields := make(map[string]any)
	for w := range windows(limits) {
		window := map[string]any{"remaining": w.Remaining}
		if w.Limit >= 0 {
			window["limit"] = w.Limit
		}
		if w.Reset >= 0 {
			window["resetSeconds"] = w.Reset.Seconds()
		}
		fields[w.name] = window
	}
	return fields
}

func windowText(limits gamma.RateLimit) string {
	var texts []string
	for w := range windows(limits) {
		text := fmt.Sprintf("%s %d", w.name, w.Remaining)
		if w.Limit >= 0 {
			text += fmt.Sprintf("/%d", w.Limit)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func newCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Show where the API key comes from, and whether it works",
		Long: `Shows where the API key comes from, and whether it works. To check that it lists one
theme, which costs nothing. The key itself is never printed.`,
		Example: `  gamma check
  gamma check --key-command 'pass show gamma'`,
		Args:              arguments(0, 0, ""),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, release := a.interrupts(cmd.Context(), nil)
			defer release()
			key, from, err := a.key(ctx)
			if err != nil {
				return err
			}
			client, err := a.clientOf(key)
			if err != nil {
				return err
			}
			for _, err := range client.Themes(ctx, &api.ListThemesParams{Limit: 1}) {
				if err != nil {
					return textError{"gamma: the API key is from " + from + ": " + message(err), err}
				}
				break
			}
			if a.json {
				return a.printJSON(map[string]any{"key": from, "works": true})
			}
			return a.result("the API key from " + from + " works\n")
		},
	}
}

func newThemes(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "themes [QUERY]",
		Short: "List all themes, or those whose name matches",
		Long: `Lists the themes of the workspace: all, or those whose name matches QUERY. A line has the
id, for create --theme-id, the name and the type, separated by tabs.`,
		Example: `  gamma themes
  gamma themes --json ocean | jq -r .id`,
		Args:              arguments(0, 1, "a query"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return list(cmd.Context(), a, func(ctx context.Context, client *gamma.Client) iter.Seq2[api.ThemeItem, error] {
				return client.Themes(ctx, &api.ListThemesParams{Query: strings.Join(args, ""), Limit: 50})
			}, "id", "name", "type")
		},
	}
}

func newFolders(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "folders [QUERY]",
		Short: "List all folders, or those whose name matches",
		Long: `Lists the folders that the owner of the key belongs to: all, or those whose name matches
QUERY. A line has the id and the name, separated by a tab.`,
		Example: `  gamma folders
  gamma folders --json sales | jq -r .id`,
		Args:              arguments(0, 1, "a query"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return list(cmd.Context(), a, func(ctx context.Context, client *gamma.Client) iter.Seq2[api.FolderItem, error] {
				return client.Folders(ctx, &api.ListFoldersParams{Query: strings.Join(args, ""), Limit: 50})
			}, "id", "name")
		},
	}
}

// list prints the items as JSON, or their columns.
func list[T any](ctx context.Context, a *app, items func(context.Context, *gamma.Client) iter.Seq2[T, error], columns ...string) error {
	ctx, release := a.interrupts(ctx, nil)
	defer release()
	client, err := a.client(ctx)
	if err != nil {
		return err
	}
	for item, err := range items(ctx, client) {
		if err != nil {
			return err
		}
		fields := object(item)
		if a.json {
			err = a.printJSON(fields)
		} else {
			line := make([]string, len(columns))
			for i, column := range columns {
				line[i] = text(fields[column])
			}
			err = a.printLine(line...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newArchive(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "archive GAMMA-ID...",
		Short: "Archive Gammas",
		Long: `Archives each Gamma. Its id is "gammaId" in the output of create, wait and status with
--json. Archiving a Gamma twice is not an error.`,
		Example: `  gamma archive g_abc123
  gamma wait --json abc123 | jq -r .gammaId | xargs gamma archive`,
		Args:              arguments(1, -1, "the id of a Gamma"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, ids []string) error {
			return a.each(cmd.Context(), "gammaId", ids, a.archive)
		},
	}
}

// archiver is a client whose OpenAPI document has the operation.
type archiver interface {
	ArchiveGamma(ctx context.Context, gammaID string, reqEditors ...api.RequestEditorFn) (*http.Response, error)
}

func (a *app) archive(ctx context.Context, client *gamma.Client, id string) error {
	c, ok := client.ClientInterface.(archiver)
	if !ok {
		return errors.New("gamma: the API of this version cannot archive")
	}
	rsp, err := c.ArchiveGamma(ctx, id)
	if err != nil {
		return err
	}
	_ = rsp.Body.Close()
	if a.json {
		return a.printJSON(map[string]any{"gammaId": id, "archived": true})
	}
	return a.printLine(id, "archived")
}

// text returns v if it is a string.
func text(v any) string {
	s, _ := v.(string)
	return s
}
