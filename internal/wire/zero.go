package wire

import "reflect"

// IsZero reports whether v, an optional parameter without a pointer, was not set.
func IsZero(v any) bool { return reflect.ValueOf(v).IsZero() }

// IsNil reports whether v is nil or a nil pointer in an interface, as a constructor
// that failed returns it.
func IsNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}
