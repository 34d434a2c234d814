package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gamma-sdk/gamma-go/internal/test/sample"
)

// Every operation of the OpenAPI document reads the documented response and returns an error
// for others; none follows a redirect.
func TestOperations(t *testing.T) {
	for _, o := range published.Operations {
		body, err := json.Marshal(published.Value(o.Response, sample.Mode{Response: true}))
		if err != nil {
			t.Fatal(err)
		}
		if !sample.IsJSON(o.ResponseType) {
			body = nil
		}
		for name, tt := range map[string]struct {
			response string
			want     end
		}{
			"documented": {full(fmt.Sprint(o.Status, " ", http.StatusText(o.Status)), o.ResponseType, string(body)), completes},
			"418":        {full("418 No", "application/json", `{"message":"no"}`), fails},
			"307":        {full("307 Moved", "", "", "Location: http://other.example/"), fails},
		} {
			t.Run(o.ID+"/"+name, func(t *testing.T) {
				t.Parallel()
				other := newElsewhere(t)
				s := serve(t, "tcp", "127.0.0.1:0", "http", sends(tt.response))
				r := newRig(t, s, settings{transport: other.dialing(s)})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				e := entry{o.ID, operation, func(ctx context.Context, r *rig) outcome {
					rsp, err := published.Call(ctx, r.client, o, sample.Mode{}, nil)
					return generated(rsp, err)
				}}
				r.call(t, ctx, e)
				r.ended(t, e, tt.want)
				if n := other.connections.Load(); n > 0 || r.requests.Load() != 1 {
					t.Errorf("%d requests, %d connections elsewhere", r.requests.Load(), n)
				}
			})
		}
	}
}
