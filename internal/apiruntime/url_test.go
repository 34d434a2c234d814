package apiruntime

import "testing"

func TestURL(t *testing.T) {
	for _, tt := range []struct{ server, want string }{
		{"https://h.example", "https://h.example/v1.0/themes"},
		{"https://h.example/", "https://h.example/v1.0/themes"},
		{"https://h.example/base", "https://h.example/base/v1.0/themes"},
		{"https://h.example/base/", "https://h.example/base/v1.0/themes"},
		{"https://h.example/a%2Fb", "https://h.example/a%2Fb/v1.0/themes"},
		{"https://h.example/base?q=1#f", "https://h.example/base/v1.0/themes"},
		{"https://h.example:8443", "https://h.example:8443/v1.0/themes"},
		{"https://h.example/%zz", ""},
	} {
		for range 2 { // the second time it is cached
			u, err := URL(tt.server, "/v1.0/themes")
			if err != nil && tt.want == "" {
				continue
			}
			if err != nil || u.String() != tt.want {
				t.Errorf("%s: %v, %v, want %s", tt.server, u, err, tt.want)
			}
		}
	}
}

func TestURLWithParameters(t *testing.T) {
	for _, tt := range []struct {
		path   string
		params []string
		want   string
	}{
		{"/v1.0/generations/{id}", []string{"gen1"}, "https://h.example/base/v1.0/generations/gen1"},
		{"/v1.0/{a}/parts/{b}", []string{"x", "y"}, "https://h.example/base/v1.0/x/parts/y"},
		{"/v1.0/{a}-{b}/end", []string{"x", "y"}, "https://h.example/base/v1.0/x-y/end"},
	} {
		if u, err := URL("https://h.example/base/", tt.path, tt.params...); err != nil || u.String() != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.path, u, err, tt.want)
		}
	}
}
