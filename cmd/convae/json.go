package main

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
)

// writeJSON prints a value as JSON. Numbers that are not finite, for which JSON has no word, are null.
func writeJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	var unsupported *json.UnsupportedValueError
	if errors.As(err, &unsupported) {
		data, err = json.MarshalIndent(withNulls(reflect.ValueOf(v)), "", "  ")
	}
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// withNulls copies what package json would write, with nil for each number that is not finite.
func withNulls(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return withNulls(v.Elem())
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = withNulls(v.Index(i))
		}
		return list
	case reflect.Map:
		m := map[string]any{}
		for _, key := range v.MapKeys() {
			m[key.String()] = withNulls(v.MapIndex(key))
		}
		return m
	case reflect.Struct:
		m := map[string]any{}
		addFields(m, v)
		return m
	}
	return v.Interface()
}

// addFields adds the fields of a struct by their names in JSON.
func addFields(m map[string]any, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			addFields(m, v.Field(i))
			continue
		case !f.IsExported() || name == "-" || options == "omitempty" && v.Field(i).IsZero():
			continue
		case name == "":
			name = f.Name
		}
		m[name] = withNulls(v.Field(i))
	}
}
