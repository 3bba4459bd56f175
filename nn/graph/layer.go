package graph

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/convae/convae/nn/op"
)

// Layer is one layer of a model. A Layer is a pointer to a struct whose exported fields, with yaml tags, are what a
// configuration can say of it. Layers of other modules take part once they are registered; see Register.
type Layer interface {
	// Kind returns the layer's name in Keras, such as "Conv2D".
	Kind() string
	// Build emits the layer's ops on the values that go in, and returns the one that comes out. Its error says what the
	// input should have been. It is called for one sample when a model is made, and again for each number of samples that
	// a program is compiled for, and must then do the same.
	Build(b *Builder, in ...op.Value) (op.Value, error)
}

var registry = struct {
	sync.RWMutex
	order []string
	byKey map[string]func() Layer
	keys  map[reflect.Type]string
}{byKey: map[string]func() Layer{}, keys: map[reflect.Type]string{}}

// Register makes a layer known under its key in configurations, such as "conv2d". new returns one with its defaults. It is
// called from an init function; a key that is taken, or a layer that is not a pointer to a struct, panics.
func Register(key string, new func() Layer) {
	registry.Lock()
	defer registry.Unlock()
	t := reflect.TypeOf(new())
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		panic("graph: Register: the layer is not a pointer to a struct")
	}
	if registry.byKey[key] != nil || registry.keys[t] != "" || slices.Contains(specFields, key) || key == "" {
		panic(fmt.Sprintf("graph: Register: the key %q or the layer %v is taken", key, t))
	}
	registry.byKey[key], registry.keys[t] = new, key
	registry.order = append(registry.order, key)
}

// Keys lists the registered layers by their keys in configurations, in the order in which they were registered.
func Keys() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Clone(registry.order)
}

// New returns a new layer of a key, with its defaults.
func New(key string) (l Layer, ok bool) {
	registry.RLock()
	defer registry.RUnlock()
	if f := registry.byKey[key]; f != nil {
		return f(), true
	}
	return nil, false
}

// Key returns the key that a layer is registered under.
func Key(l Layer) (key string, ok bool) {
	registry.RLock()
	defer registry.RUnlock()
	key, ok = registry.keys[reflect.TypeOf(l)]
	return key, ok
}
