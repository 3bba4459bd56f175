package exchange

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
)

// kerasSnippet is what turns the weights of a Keras model into a file that Import reads.
const kerasSnippet = `import keras, safetensors.numpy; m = keras.saving.load_model("FILE"); ` +
	`safetensors.numpy.save_file({getattr(w, "path", w.name): w.numpy() for w in m.weights}, "weights.safetensors")`

// kerasName takes the name of a Keras weight apart: conv2d_1/kernel of Keras 3, conv2d_1/kernel:0 of Keras 2, and either below a model's name.
var kerasName = regexp.MustCompile(`^(?:.*/)?([^/]+)/(kernel|bias|gamma|beta|moving_mean|moving_variance|depthwise_kernel|pointwise_kernel)(?::0)?$`)

// isKeras reports whether all tensors have names of Keras, and there are some.
func isKeras(f *safetensors.File) bool {
	for _, t := range f.Tensors {
		if !kerasName.MatchString(t.Name) {
			return false
		}
	}
	return len(f.Tensors) > 0
}

// numbered takes the number off a layer's name.
var numbered = regexp.MustCompile(`^(.*?)(?:_(\d+))?$`)

// kerasLayers says which layer of the model each layer of a file is: the one of its name or, where Keras has counted on from models before, the one in
// its place among those of its kind.
func kerasLayers(f *safetensors.File, m *nn.Model) map[string]string {
	own := map[string]bool{}
	for _, p := range m.Params {
		own[p.Layer] = true
	}
	byKind := map[string][]string{}
	exact := true
	for _, t := range f.Tensors {
		name := kerasName.FindStringSubmatch(t.Name)[1]
		kind := numbered.FindStringSubmatch(name)[1]
		if !slices.Contains(byKind[kind], name) {
			byKind[kind] = append(byKind[kind], name)
		}
		exact = exact && own[name]
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(numbered.FindStringSubmatch(name)[2])
		return n
	}
	to := map[string]string{}
	for kind, names := range byKind {
		slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
		for i, name := range names {
			switch {
			case exact:
				to[name] = name
			case i == 0:
				to[name] = kind
			default:
				to[name] = fmt.Sprintf("%s_%d", kind, i)
			}
		}
	}
	return to
}

// kerasNames are what Keras calls a parameter, by the end of its name here.
var kerasNames = map[string]string{"running_mean": "moving_mean", "running_var": "moving_variance"}

// importKeras takes weights in Keras's layouts: kernels of (rows, columns, in, out), those of a transposed convolution (rows, columns, out, in), dense
// ones (in, out), with channels last in what was an image.
func importKeras(f *safetensors.File, m *nn.Model) (nn.Misfits, error) {
	layers := kerasLayers(f, m)
	tensors := map[string]*safetensors.Tensor{}
	for i := range f.Tensors {
		parts := kerasName.FindStringSubmatch(f.Tensors[i].Name)
		tensors[layers[parts[1]]+"/"+parts[2]] = &f.Tensors[i]
	}
	kinds := map[string]any{}
	for _, l := range m.Layers {
		kinds[l.Name] = l.Layer
	}
	names, _ := Names(m, Layers)
	data := make([][]float32, len(m.Params))
	var misfits nn.Misfits
	taken := map[*safetensors.Tensor]bool{}
	for i := range m.Params {
		p := &m.Params[i]
		end := names[i][strings.LastIndexByte(names[i], '.')+1:]
		name := end
		if kerasNames[end] != "" {
			name = kerasNames[end]
		}
		s := p.Shape
		shape := []int{s.C}
		switch l := kinds[p.Layer].(type) {
		case *layer.SpatialAttention, *layer.VectorQuantizer, *layer.Concrete:
			return nil, fmt.Errorf("layer %s has no equal in Keras", p.Layer)
		case *layer.BatchNormalization, *layer.GroupNormalization, *layer.LayerNormalization:
			name = strings.NewReplacer("weight", "gamma", "bias", "beta").Replace(name)
		case *layer.Dense:
			if end == "weight" {
				name, shape = "kernel", []int{s.C, s.N}
			}
		case *layer.DepthwiseConv2D:
			if end == "weight" {
				name, shape = "kernel", depthwiseShape(p, l.DepthMultiplier)
				if tensors[p.Layer+"/kernel"] == nil {
					name = "depthwise_kernel" // of Keras 2
				}
			}
		case *layer.SeparableConv2D:
			switch {
			case end == "weight" && strings.HasSuffix(names[i], ".0.weight"):
				name, shape = "depthwise_kernel", depthwiseShape(p, l.DepthMultiplier)
			case end == "weight":
				name, shape = "pointwise_kernel", []int{1, 1, s.C, s.N}
			}
		default:
			if end == "weight" {
				name, shape = "kernel", []int{s.H, s.W, s.C, s.N}
			}
		}
		t := tensors[p.Layer+"/"+name]
		if t == nil {
			misfits = append(misfits, fmt.Sprintf("%s/%s is not in the file", p.Layer, name))
			continue
		}
		taken[t] = true
		if !slices.Equal(t.Shape, shape) {
			misfits = append(misfits, fmt.Sprintf("%s has shape %v, the model's has %v", t.Name, t.Shape, shape))
			continue
		}
		v, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		// All but the last dimension of Keras's kernel is one row of ours, in the same order.
		data[i] = v
		if filters := s.N; len(shape) > 1 {
			data[i] = make([]float32, len(v))
			inner := len(v) / filters
			for k := range inner {
				for n := range filters {
					data[i][n*inner+k] = v[k*filters+n]
				}
			}
		}
	}
	for i := range f.Tensors {
		if !taken[&f.Tensors[i]] {
			misfits = append(misfits, fmt.Sprintf("%s is not in the model", f.Tensors[i].Name))
		}
	}
	if len(misfits) == 0 {
		for i := range data {
			m.Params[i].Data = data[i]
		}
	}
	return misfits, nil
}

// depthwiseShape is that of a kernel of so many filters for each channel.
func depthwiseShape(p *nn.Param, multiplier int) []int {
	multiplier = max(multiplier, 1)
	return []int{p.Shape.H, p.Shape.W, p.Shape.N / multiplier, multiplier}
}
