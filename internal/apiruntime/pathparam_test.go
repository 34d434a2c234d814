package apiruntime

import (
	"net/url"
	"strings"
	"testing"
)

func TestCheckPathParam(t *testing.T) {
	for v, ok := range map[string]bool{
		"a": true, "gen_xyz789": true, "A-Z.0~9": true, "..a": true, strings.Repeat("a", 256): true,
		"": false, ".": false, "..": false, "...": false, "a/b": false, "a%2f": false, "a b": false, "a\x00": false,
		"é": false, "a?": false, "a#": false, "a:": false, "a@": false, "a+": false, "a,b": false, strings.Repeat("a", 257): false,
	} {
		err := CheckPathParam("id", v)
		if ok != (err == nil) {
			t.Errorf("CheckPathParam(%q): %v, want ok = %v", v, err, ok)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "gamma: id ") || len(v) > 3 && strings.Contains(err.Error(), v)) {
			t.Errorf("CheckPathParam(%q): text %q", v, err)
		}
	}
}

// A valid parameter is one segment of the URL.
func FuzzCheckPathParam(f *testing.F) {
	for _, v := range []string{"gen1", "..", "a/b", "%2e%2e", "", "~", "a;b"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if CheckPathParam("id", v) != nil {
			return
		}
		u, err := url.Parse("https://h.example/v1.0/generations/" + v)
		if err != nil || u.Host != "h.example" || u.Path != "/v1.0/generations/"+v || u.EscapedPath() != u.Path || u.JoinPath().Path != u.Path {
			t.Fatalf("%q gave %+v, %v", v, u, err)
		}
	})
}
