package nn

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Optional is a number that may be left out, which is not the same as a 0. The zero Optional is left out.
type Optional struct {
	value float64
	given bool
}

// Given returns a number that is not left out.
func Given(v float64) Optional { return Optional{v, true} }

// Value returns the number, 0 if it is left out.
func (o Optional) Value() float64 { return o.value }

// IsZero reports whether the number is left out; a 0 that is given is not.
func (o Optional) IsZero() bool { return !o.given }

// Or returns o or, if that is left out, d.
func (o Optional) Or(d float64) Optional {
	if o.given {
		return o
	}
	return Given(d)
}

func (o Optional) String() string { return fmt.Sprint(o.value) }

var errNumber = errors.New("want a number")

// UnmarshalYAML reads a number.
func (o *Optional) UnmarshalYAML(unmarshal func(any) error) error {
	var v float64
	if unmarshal(&v) != nil {
		return errNumber
	}
	*o = Given(v)
	return nil
}

// MarshalYAML writes the number; one that is left out is none in a field with omitempty.
func (o Optional) MarshalYAML() (any, error) { return o.value, nil }

// MarshalJSON writes the number, 0 if it is left out.
func (o Optional) MarshalJSON() ([]byte, error) { return json.Marshal(o.value) }

// UnmarshalJSON reads a number.
func (o *Optional) UnmarshalJSON(text []byte) error {
	o.given = true
	return json.Unmarshal(text, &o.value)
}
