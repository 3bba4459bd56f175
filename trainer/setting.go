package trainer

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/nn/graph"
)

// Change changes a configuration that has been read and not yet been checked.
type Change func(c *Config) error

// Set is the change by a setting such as "training.epochs=5" or "model.encoder.1.dense.units=16": the path of a value in
// the file, with lists counted from 1, and the value in YAML. Its errors name the key that there is not, and list those
// that there are.
func Set(setting string) Change { return func(c *Config) error { return c.set(setting) } }

func (c *Config) set(setting string) error {
	path, value, ok := strings.Cut(setting, "=")
	if !ok || path == "" {
		return fmt.Errorf("setting %q: want PATH=VALUE, as training.epochs=5", setting)
	}
	v := reflect.ValueOf(c).Elem()
	at, wanted := "", ""
	for _, key := range strings.Split(path, ".") {
		var err error
		if v, wanted, err = step(v, at, key); err != nil {
			return fmt.Errorf("setting %q: %w", setting, err)
		}
		at = strings.TrimPrefix(at+"."+key, ".")
	}
	if value == "" {
		return fmt.Errorf("setting %q: there is no value after the =", setting)
	}
	// The value is read as part of a configuration would be, so that unknown fields are errors.
	fresh := reflect.New(v.Type())
	into := fresh
	if v.Kind() == reflect.Pointer { // a field that may be left out
		if value == "null" {
			v.SetZero()
			return nil
		}
		into = reflect.New(v.Type().Elem())
		fresh.Elem().Set(into)
	}
	if err := decodeYAML([]byte(value), into.Interface(), path); err != nil {
		return fmt.Errorf("setting %q: %w", setting, err)
	}
	if wanted != "" && fresh.Elem().IsZero() {
		return fmt.Errorf("setting %q: want %s", setting, wanted)
	}
	v.Set(fresh.Elem())
	return nil
}

// step goes from the value at a path to the one that key names in it. wanted says what that has to be if it may not be 0.
func step(v reflect.Value, at, key string) (next reflect.Value, wanted string, err error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	where := "the configuration"
	if at != "" {
		where = at
	}
	if v.Type() == reflect.TypeFor[graph.Spec]() {
		l := v.Addr().Interface().(*graph.Spec)
		if names := yamlNames(l.Fields()); !slices.Contains(names, key) {
			return v, "", fmt.Errorf("%s has no %q%s", where, key, Advice(key, names, "; it has"))
		}
		field, err := l.Field(key)
		if err != nil {
			return v, "", fmt.Errorf("%s %w", where, err)
		}
		return field, "", nil
	}
	switch {
	case v.Kind() == reflect.Slice:
		i, err := strconv.Atoi(key)
		if err != nil || i < 1 || i > v.Len() {
			return v, "", fmt.Errorf("%s has no item %q, want a number of 1 to %d", where, key, v.Len())
		}
		return v.Index(i - 1), "", nil
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); yamlName(f) == key {
				return v.Field(i), f.Tag.Get("zero"), nil
			}
		}
		if keys := yamlNames(v.Type()); len(keys) > 0 {
			return v, "", fmt.Errorf("%s has no %q%s", where, key, Advice(key, keys, "; it has"))
		}
	}
	return v, "", fmt.Errorf("%s is a value, which has no %q", where, key)
}

// yamlName returns the name of a field in a file, "" of one that is in none.
func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return strings.TrimPrefix(name, "-")
}

// yamlNames lists the fields of a struct.
func yamlNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name := yamlName(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Advice says which of the names was meant by a misspelt one, and, behind thereAre, which there are.
func Advice(name string, names []string, thereAre string) string {
	near := Nearest(name, names)
	if near != "" {
		near = ", perhaps " + near
	}
	return near + thereAre + " " + strings.Join(names, ", ")
}
