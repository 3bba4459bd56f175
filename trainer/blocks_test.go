package trainer

import (
	"reflect"
	"strings"
	"testing"
)

const blockConfig = `
model:
  name: m
  input: [8, 8, 3]
  blocks:
    residual:
      parameters: {filters, middle: $filters, kernel: 3, skip: input}
      layers:
        - conv2d: {filters: $middle, kernel: $kernel, activation: relu}
        - conv2d: {filters: $filters, kernel: [3, $kernel]}
          name: sum
        - add: {}
          inputs: [sum, $skip]
    down:
      parameters: {filters, blocks: 1, stride: 2}
      layers:
        - conv2d: {filters: $filters, kernel: 1}
          name: wide
        - residual: {filters: $filters}
          repeat: $blocks
          name: kept
        - residual: {filters: $filters, skip: wide}
        - conv2d: {filters: $filters, kernel: 3, stride: $stride}
  encoder:
    - down: {filters: 4, blocks: 2}
      name: first
    - residual: {filters: 4, middle: 2, kernel: 1}
      trainable: false
      learning_rate_factor: 0.5
  decoder:
    - upsampling2d: {size: 2}
      name: up
    - concatenate: {}
      inputs: [up, first.kept]
    - conv2d: {filters: 3, kernel: 3}
      name: narrow
    - residual: {filters: 3}
      inputs: [narrow]
`

// What blocks stand for, written out.
const blocksWritten = `
model:
  name: m
  input: [8, 8, 3]
  encoder:
    - conv2d: {filters: 4, kernel: 1}
      name: first.wide
    - conv2d: {filters: 4, kernel: 3, activation: relu}
    - conv2d: {filters: 4, kernel: [3, 3]}
      name: first.residual.sum
    - add: {}
      inputs: [first.residual.sum, first.wide]
      name: first.kept.input
    - conv2d: {filters: 4, kernel: 3, activation: relu}
    - conv2d: {filters: 4, kernel: [3, 3]}
      name: first.kept.sum
    - add: {}
      inputs: [first.kept.sum, first.kept.input]
      name: first.kept
    - conv2d: {filters: 4, kernel: 3, activation: relu}
    - conv2d: {filters: 4, kernel: [3, 3]}
      name: first.residual_1.sum
    - add: {}
      inputs: [first.residual_1.sum, first.wide]
    - conv2d: {filters: 4, kernel: 3, stride: 2}
      name: first
    - conv2d: {filters: 2, kernel: 1, activation: relu}
      trainable: false
      learning_rate_factor: 0.5
    - conv2d: {filters: 4, kernel: [3, 1]}
      name: residual.sum
      trainable: false
      learning_rate_factor: 0.5
    - add: {}
      inputs: [residual.sum, first]
      trainable: false
      learning_rate_factor: 0.5
  decoder:
    - upsampling2d: {size: 2}
      name: up
    - concatenate: {}
      inputs: [up, first.kept]
    - conv2d: {filters: 3, kernel: 3}
      name: narrow
    - conv2d: {filters: 3, kernel: 3, activation: relu}
      inputs: [narrow]
    - conv2d: {filters: 3, kernel: [3, 3]}
      name: residual_1.sum
    - add: {}
      inputs: [residual_1.sum, narrow]
`

// decodeModel reads a model without compiling it.
func decodeModel(t *testing.T, config string) Config {
	t.Helper()
	var c Config
	body, err := parseYAML([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := expandBlocks(body); err != nil {
		t.Fatal(err)
	}
	if err := decodeNode(body, &c, ""); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBlocks(t *testing.T) {
	got, want := decodeModel(t, blockConfig), decodeModel(t, blocksWritten)
	for i, l := range want.Model.Encoder {
		if i < len(got.Model.Encoder) && !reflect.DeepEqual(got.Model.Encoder[i], l) {
			t.Errorf("encoder layer %d is %+v, want %+v", i+1, got.Model.Encoder[i], l)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("blocks give %+v, want %+v", got, want)
	}
}

func TestBlockErrors(t *testing.T) {
	if _, err := DecodeConfig(strings.NewReader(blockConfig)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown block", "- down: {", "- dwon: {", `line 25, column 7: unknown layer or block "dwon", perhaps down; want one of`},
		{"unknown block in a block", "- residual: {filters: $filters, skip", "- residul: {filters: $filters, skip", `line 22, column 11: unknown layer or block "residul", perhaps residual`},
		{"unknown parameter", "{filters: 4, middle", "{filters: 4, midle", `line 27, column 30: unknown parameter "midle" of the block residual, perhaps middle; want one of filters, middle, kernel, skip`},
		{"unknown reference", "filters: $middle", "filters: $midle", `line 9, column 29: unknown parameter "midle" of the block residual, perhaps middle`},
		{"missing parameter", "{filters: 4, middle: 2, kernel: 1}", "{}", "line 27, column 7: the block residual wants the parameter filters, which has no default"},
		{"no fields", "{filters: 4, middle: 2, kernel: 1}", "4", "line 27, column 17: the block residual is given 4, want its parameters as fields: filters, middle, kernel, skip"},
		{"itself", "- conv2d: {filters: $middle, kernel: $kernel, activation: relu}", "- residual: {filters: 3}", "line 9, column 11: the block residual uses itself"},
		{"each other", "- conv2d: {filters: $middle, kernel: $kernel, activation: relu}", "- down: {filters: 3}", "line 9, column 11: the block down uses itself, through residual"},
		{"not in a block", "size: 2", "size: $two", `line 31, column 28: model.decoder.1.upsampling2d.size is "$two", want a whole number`},
		{"type of a value", "{filters: 4, middle: 2", "{filters: 4, middle: two", `line 27, column 38: model.encoder.12.conv2d.filters is "two", want a whole number`},
		{"type in a block", "[3, $kernel]", "[3, $kernel, 3]", "line 10, column 47: model.encoder.3.conv2d.kernel is a list, want a whole number, or [rows, columns]"},
		{"no input", "inputs: [narrow]", "inputs: [up, narrow]", `line 7, column 64: the block residual takes one input, want one where it is used`},
		{"inputs that nothing takes", "  encoder:\n", "    fixed: {layers: [{flatten: {}, inputs: [up]}]}\n  encoder:\n    - fixed: {}\n      inputs: [input]\n", "line 26, column 7: the block fixed has inputs here, which its layers do not take"},
		{"repeat", "blocks: 2}", "blocks: 0}", "line 25, column 34: repeat is 0, want a whole number of 1 or more"},
		{"huge", "blocks: 2}", "blocks: 100000000}", "the blocks make more than 50000 values of the file"},
		{"two in one", "inputs: [narrow]", "flatten: {}", `line 38, column 7: "flatten" stands beside a block: each needs a list item of its own`},
		{"name of a layer", "    down:", "    dense:", "line 14, column 5: model.blocks.dense has the name of a layer or of a field, want another"},
		{"no layers", "    down:", "    none: {}\n    down:", "line 14, column 5: model.blocks.none has no layers"},
		{"unknown field", "    down:", "    none: {layer: []}\n    down:", `line 14, column 12: unknown field "layer" in model.blocks.none, perhaps layers; want one of parameters, layers`},
		{"name with a dot", "name: wide", "name: wi.de", `line 18, column 17: a layer of the block down is called "wi.de", want a word`},
		{"shapes", "kernel: [3, $kernel]}", "kernel: [3, $kernel], stride: 2}", "line 12, column 11 (block residual of line 19, block down of line 25): nn: encoder layer 4 (first.kept.input"},
		{"shapes outside", "- conv2d: {filters: 3, kernel: 3}", "- conv2d: {filters: 2, kernel: 3}", "line 12, column 11 (block residual of line 37): nn: decoder layer 6 (add_4"},
		{"a list", "  blocks:\n", "  blocks: [1]\n  block:\n", "line 5, column 11: model.blocks is a list, want names of blocks"},
	} {
		text := strings.Replace(blockConfig, c.old, c.new, 1)
		if text == blockConfig {
			t.Errorf("%s: nothing is replaced", c.name)
		}
		_, err := DecodeConfig(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// What the document shows of blocks is a model.
func TestDocumentShowsBlocks(t *testing.T) {
	_, text, _ := strings.Cut(string(readFile(t, "..", "docs", "configuration.md")), "```yaml\nmodel:\n  name: residual\n")
	text, _, ok := strings.Cut(text, "```")
	c, err := DecodeConfig(strings.NewReader("model:\n  name: residual\n" + text))
	if !ok || err != nil || len(c.Model.Encoder) != 1+2*3+1+4*3 {
		t.Errorf("%d layers, %v, of\n%s", len(c.Model.Encoder), err, text)
	}
}
