package gamma

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"

	"github.com/gamma-sdk/gamma-go/api"
	"github.com/gamma-sdk/gamma-go/internal/apiruntime"
	"github.com/gamma-sdk/gamma-go/internal/ratelimit"
)

// maxEmptyPages is how many pages in a row may be empty without being the last.
const maxEmptyPages = 10

// Themes returns an iterator over the workspace's themes. It requests each page when the
// loop needs it. params.Limit is the size of a page and params.After the cursor to start
// at; nil means all themes. An error is yielded last: that of a request, or one matching
// [ErrUnexpectedResponse] if a page has no list or the pages do not end. Each loop over the
// iterator requests the pages again. Before each request it waits until the rate limit of
// the client allows it.
func (c *Client) Themes(ctx context.Context, params *api.ListThemesParams) iter.Seq2[api.ThemeItem, error] {
	return pages("Themes", valueOf(params).After, func(cursor string) (page[api.ThemeItem], error) {
		p := valueOf(params)
		p.After = cursor
		rsp, err := c.ListThemesWithResponse(c.doer.budget.With(ctx, ratelimit.Waits), &p)
		if err != nil || rsp.JSON200 == nil {
			return page[api.ThemeItem]{}, err
		}
		return pageOf(rsp.JSON200.Data, rsp.JSON200.HasMore, rsp.JSON200.NextCursor, rsp.Body), nil
	})
}

// Folders is like [Client.Themes], but yields the workspace's folders that the owner of
// the key is a member of.
func (c *Client) Folders(ctx context.Context, params *api.ListFoldersParams) iter.Seq2[api.FolderItem, error] {
	return pages("Folders", valueOf(params).After, func(cursor string) (page[api.FolderItem], error) {
		p := valueOf(params)
		p.After = cursor
		rsp, err := c.ListFoldersWithResponse(c.doer.budget.With(ctx, ratelimit.Waits), &p)
		if err != nil || rsp.JSON200 == nil {
			return page[api.FolderItem]{}, err
		}
		return pageOf(rsp.JSON200.Data, rsp.JSON200.HasMore, rsp.JSON200.NextCursor, rsp.Body), nil
	})
}

type page[T any] struct {
	ok    bool // the response has a list
	items []T
	more  bool
	next  string
}

func pageOf[T any](items []T, more bool, next string, body []byte) page[T] {
	ok := items != nil
	if !ok { // an empty list may be null, but not missing
		var list struct {
			Data json.RawMessage `json:"data"`
		}
		ok = json.Unmarshal(body, &list) == nil && list.Data != nil
	}
	return page[T]{ok, items, hasMore(more, next, body), next}
}

func pages[T any](name string, first string, get func(cursor string) (page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seed := maphash.MakeSeed()
		seen := map[uint64]bool{maphash.String(seed, first): true} // hashes, since cursors may be long
		cursor, empty := first, 0
		for {
			p, err := get(cursor)
			if err == nil && !p.ok {
				err = fmt.Errorf("%w: %s: a page without a list", ErrUnexpectedResponse, name)
			}
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range p.items {
				if !yield(item, nil) {
					return
				}
			}
			if !p.more {
				return
			}
			if empty++; len(p.items) > 0 {
				empty = 0
			}
			cursor = p.next
			switch sum := maphash.String(seed, cursor); {
			case cursor == "":
				err = errors.New("hasMore is true, but there is no cursor")
			case seen[sum]:
				err = errors.New("a cursor was returned twice")
			case empty == maxEmptyPages:
				err = fmt.Errorf("%d pages in a row are empty", empty)
			default:
				seen[sum] = true
				continue
			}
			yield(none, fmt.Errorf("%w: %s: %w", ErrUnexpectedResponse, name, err))
			return
		}
	}
}

// hasMore reports whether another page follows. If there is a cursor, a hasMore that is
// missing or null counts as true.
func hasMore(more bool, cursor string, body []byte) bool {
	if more || cursor == "" {
		return more
	}
	var page struct {
		HasMore *bool `json:"hasMore,omitempty"`
	}
	return apiruntime.Decode(body, &page) == nil && page.HasMore == nil
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
