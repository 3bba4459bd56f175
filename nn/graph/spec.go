package graph

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Spec is a layer of a model as a configuration says it: `conv2d: {filters: 32, kernel: 3}`, with a name and inputs of its
// own beside it where the model is not a chain:
//
//   - conv2d: {filters: 32, kernel: 3}
//     name: left
//   - add: {}
//     inputs: [left, right]
type Spec struct {
	Name   string   // that later layers may ask for; "" for none
	Inputs []string // names of earlier layers, or "input", the model's; the layer before by default
	// Trainable is false for a layer whose parameters stay as they are; nil means true. A batch normalisation then normalises by its averages.
	Trainable *bool
	// LearningRateFactor multiplies the optimiser's learning rate for the layer's parameters; nil means 1, and 0 is as if it were not Trainable.
	LearningRateFactor *float64
	Layer              Layer
}

// specFields are the fields of a Spec in a configuration besides the layer's.
var specFields = []string{"name", "inputs", "trainable", "learning_rate_factor"}

// Specs wraps layers that form a chain.
func Specs(layers ...Layer) []Spec {
	s := make([]Spec, len(layers))
	for i, l := range layers {
		s[i].Layer = l
	}
	return s
}

// field returns a field of a struct that stands for a Spec in a file.
func field(name, key, options string, t reflect.Type) reflect.StructField {
	return reflect.StructField{Name: name, Type: t, Tag: reflect.StructTag(fmt.Sprintf(`yaml:"%s,omitempty%s"`, key, options))}
}

// fields returns a struct type with the layers of some keys, and the fields beside them, in the order of specFields.
func fields(keys []string) reflect.Type {
	var list []reflect.StructField
	for i, key := range keys {
		l, _ := New(key)
		list = append(list, field(fmt.Sprintf("L%d", i), key, ",flow", reflect.TypeOf(l)))
	}
	list = append(list, field("Name", "name", "", reflect.TypeFor[string]()), field("Inputs", "inputs", ",flow", reflect.TypeFor[[]string]()),
		field("Trainable", "trainable", "", reflect.TypeFor[*bool]()), field("LearningRateFactor", "learning_rate_factor", "", reflect.TypeFor[*float64]()))
	return reflect.StructOf(list)
}

// Fields returns a struct type that has what a configuration may say in the place of a Spec, with the yaml tags of all
// registered layers: whoever checks a configuration by its types can go by it.
func (Spec) Fields() reflect.Type { return fields(Keys()) }

// MarshalYAML writes the layer under its key, on one line.
func (s Spec) MarshalYAML() (any, error) {
	key, ok := Key(s.Layer)
	if !ok {
		return nil, fmt.Errorf("graph: the layer %T is not registered", s.Layer)
	}
	v := reflect.New(fields([]string{key})).Elem()
	v.Field(0).Set(reflect.ValueOf(s.Layer))
	v.Field(1).SetString(s.Name)
	v.Field(2).Set(reflect.ValueOf(s.Inputs))
	v.Field(3).Set(reflect.ValueOf(s.Trainable))
	v.Field(4).Set(reflect.ValueOf(s.LearningRateFactor))
	return v.Interface(), nil
}

// UnmarshalYAML reads a layer by its key.
func (s *Spec) UnmarshalYAML(unmarshal func(any) error) error {
	keys := Keys()
	v := reflect.New(fields(keys))
	if err := unmarshal(v.Interface()); err != nil {
		return err
	}
	*s = Spec{}
	var found []string
	for i, key := range keys {
		if f := v.Elem().Field(i); !f.IsNil() {
			found = append(found, key)
			s.Layer = f.Interface().(Layer)
		}
	}
	s.Name = v.Elem().Field(len(keys)).String()
	s.Inputs = v.Elem().Field(len(keys) + 1).Interface().([]string)
	s.Trainable = v.Elem().Field(len(keys) + 2).Interface().(*bool)
	s.LearningRateFactor = v.Elem().Field(len(keys) + 3).Interface().(*float64)
	switch len(found) {
	case 0:
		return fmt.Errorf("names no layer: want one of %s (an empty one as `flatten: {}`)", strings.Join(keys, ", "))
	case 1:
		return nil
	}
	return fmt.Errorf("names %d layers (%s): each needs a list item of its own", len(found), strings.Join(found, ", "))
}

// Field returns the field of a Spec that a key of a configuration means, to be changed: one beside the layer, or the layer
// if it is one of that key. Another layer takes the place of this one as a whole only.
func (s *Spec) Field(key string) (reflect.Value, error) {
	switch key {
	case "name":
		return reflect.ValueOf(&s.Name).Elem(), nil
	case "inputs":
		return reflect.ValueOf(&s.Inputs).Elem(), nil
	case "trainable":
		return reflect.ValueOf(&s.Trainable).Elem(), nil
	case "learning_rate_factor":
		return reflect.ValueOf(&s.LearningRateFactor).Elem(), nil
	}
	own, _ := Key(s.Layer)
	if s.Layer != nil && own == key {
		return reflect.ValueOf(s.Layer).Elem(), nil
	}
	return reflect.Value{}, fmt.Errorf("is %s and has no %s: another layer is set as a whole, as {%s: {...}}", own, key, key)
}

// Has reports whether there is a layer of type L.
func Has[L Layer](specs []Spec) bool {
	return slices.ContainsFunc(specs, func(s Spec) bool {
		_, ok := s.Layer.(L)
		return ok
	})
}

// rate returns what the layer's parameters have of the optimiser's learning rate, 0 for a layer that is not to be trained.
func (s *Spec) rate() (float32, error) {
	rate := 1.0
	if s.LearningRateFactor != nil {
		rate = *s.LearningRateFactor
	}
	if !(rate >= 0 && rate <= math.MaxFloat32) || rate > 0 && float32(rate) == 0 {
		return 0, fmt.Errorf("learning_rate_factor is %v, want 0 or more", rate)
	}
	if s.Trainable != nil && !*s.Trainable {
		rate = 0
	}
	return float32(rate), nil
}
