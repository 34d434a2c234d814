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

// maxEmptyPages is how many pages in a row may be empty and promise more.
const maxEmptyPages = 10

// Themes yields the workspace's themes, page by page as the loop asks for them. Of
// params, Limit is the size of a page and After the cursor to start at; nil means all
// themes. An error ends the sequence: that of a request, or one matching
// [ErrUnexpectedResponse] if a page has no list or the pages do not end. Each range over
// it requests the pages again. Before each request it waits until the rate limit of the
// client allows it.
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

// Folders yields the workspace's folders that the key's owner belongs to, in the same
// way as [Client.Themes].
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
	ok    bool // there was one
	items []T
	more  bool
	next  string
}

func pageOf[T any](items []T, more bool, next string, body []byte) page[T] {
	ok := items != nil
	if !ok { // it may be null for an empty list, but not missing
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
		seen := map[uint64]bool{maphash.String(seed, first): true} // a cursor may be long, and there may be many
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
				err = errors.New("more pages are promised without a cursor")
			case seen[sum]:
				err = errors.New("a cursor came a second time")
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

// hasMore reports whether another page follows: where there is a cursor, only a
// hasMore that is false in the body says that there is none. Missing or null, it
// would be false in Go too, and the rest of the list lost.
func hasMore(more bool, cursor string, body []byte) bool {
	if more || cursor == "" {
		return more
	}
	var said struct {
		HasMore *bool `json:"hasMore,omitempty"`
	}
	return apiruntime.Decode(body, &said) == nil && said.HasMore == nil
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
