package trainer

import (
	"encoding/json"
	"errors"
	"strconv"
)

// Class names a class of a data set: by its name or, where no class is called so, by its label, a number.
type Class string

// UnmarshalYAML reads a name or a number.
func (c *Class) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil || text == "" {
		return errors.New("want the name or the number of a class")
	}
	*c = Class(text)
	return nil
}

// MarshalYAML writes a number or a name.
func (c Class) MarshalYAML() (any, error) { return c.value(), nil }

// MarshalJSON writes a number or a name.
func (c Class) MarshalJSON() ([]byte, error) { return json.Marshal(c.value()) }

// value is a number if the class is named by one in its shortest form.
func (c Class) value() any {
	if n, err := strconv.ParseUint(string(c), 10, 8); err == nil && strconv.FormatUint(n, 10) == string(c) {
		return n
	}
	return string(c)
}

// classTexts returns classes as text, nil for none.
func classTexts(classes []Class) []string {
	var texts []string
	for _, c := range classes {
		texts = append(texts, string(c))
	}
	return texts
}
