package wire

import "reflect"

// IsNil reports whether v is nil or a nil pointer in an interface, as a constructor
// that failed returns it.
func IsNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}
