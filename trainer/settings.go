package trainer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// A Difference is a value of a configuration that is another in a second one.
type Difference struct {
	Path string // as [Set] takes it
	A, B string // the values; "" where there is none
}

// Differences returns the values in which two configurations differ, with all defaults filled in, in the order of their paths. What is only found out
// from the data is left out.
func Differences(a, b Config) ([]Difference, error) {
	textA, err := configText(a)
	if err != nil {
		return nil, err
	}
	textB, err := configText(b)
	if err != nil {
		return nil, err
	}
	return parseSettings(textA).differences(parseSettings(textB)), nil
}

// settings are the values of a configuration, or those that were changed, by path as [Set] takes it.
type settings map[string]string

// any reports whether one of the paths is set, or begins with one of those that end in a dot.
func (v settings) any(paths ...string) bool {
	for key := range v {
		if slices.ContainsFunc(paths, func(p string) bool { return key == p || strings.HasSuffix(p, ".") && strings.HasPrefix(key, p) }) {
			return true
		}
	}
	return false
}

// text lists the settings whose paths begin so.
func (v settings) text(prefix string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if strings.HasPrefix(key, prefix) {
			parts = append(parts, key+": "+v[key])
		}
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// differences are the values in which v and w differ, in the order of their paths.
func (v settings) differences(w settings) (all []Difference) {
	paths := maps.Clone(v)
	maps.Copy(paths, w)
	for _, path := range slices.SortedFunc(maps.Keys(paths), byNumbers) {
		if v[path] != w[path] {
			all = append(all, Difference{path, v[path], w[path]})
		}
	}
	return all
}

// byNumbers compares paths, and where both have a number of a list, as numbers.
func byNumbers(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		m, errM := strconv.Atoi(a)
		n, errN := strconv.Atoi(b)
		if errM == nil && errN == nil {
			return m - n
		}
		return strings.Compare(a, b)
	})
}

// configText returns a configuration as YAML, without what is only found out from the data.
func configText(c Config) (string, error) {
	c.Data.Scaler, c.Data.Classes = nil, nil
	text, err := c.YAML()
	return string(text), err
}

// parseSettings returns the values of a configuration in YAML. One that this version can read has its defaults filled in, so
// that none of them counts as changed.
func parseSettings(text string) settings {
	if c, err := DecodeConfig(strings.NewReader(text)); err == nil {
		if full, err := configText(c); err == nil {
			text = full
		}
	}
	var tree any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		return nil
	}
	v := settings{}
	v.add("", tree)
	return v
}

// add adds the values of a tree under a path.
func (v settings) add(path string, tree any) {
	join := func(key string) string { return strings.TrimPrefix(path+"."+key, ".") }
	switch t := tree.(type) {
	case map[string]any:
		for key, value := range t {
			v.add(join(key), value)
		}
	case []any:
		if !slices.ContainsFunc(t, func(item any) bool { _, nested := item.(map[string]any); return nested }) {
			v[path] = fmt.Sprint(t) // a list of numbers is one value
			return
		}
		for i, value := range t {
			v.add(join(strconv.Itoa(i+1)), value)
		}
	default:
		v[path] = fmt.Sprint(t)
	}
}
