package trainer

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/convae/convae/trainer/dataset"
)

// Structure that is too deep is an error at once: the library would take 15 GB and half a minute for 200 KB of brackets.
func TestYAMLIsBounded(t *testing.T) {
	const n = 100000
	for name, text := range map[string]string{
		"brackets": "model: " + strings.Repeat("[", n), "braces": strings.Repeat("{a: ", n), "list marks": "model:\n  " + strings.Repeat("- ", n) + "a",
		"keys": strings.Repeat("? ", n), "indentation": strings.Repeat(" ", n) + "a: 1",
		"brackets behind quotes":               strings.Repeat(`["]", `, n),
		"brackets behind comments":             strings.Repeat("[ #]\n", n),
		"brackets behind a quote that is none": `[a" ` + strings.Repeat("[", n),
	} {
		start := time.Now()
		var c Config
		if err := decodeYAML([]byte(text), &c, ""); err == nil || !strings.Contains(err.Error(), "more than 500 deep in each other") {
			t.Errorf("%s: error %v", name, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	names := make([]string, 1000)
	for i := range names {
		names[i] = `"of [mm", '[', "\"["`
	}
	if err := checkDepth([]byte("columns: [" + strings.Join(names, ", ") + "]")); err != nil {
		t.Errorf("brackets in quoted text: %v", err)
	}
}

// Marks of the encoding and the version are no part of the content, and JSON is YAML.
func TestYAMLText(t *testing.T) {
	utf16 := func(text string, first, second int) string {
		b := []byte{0xff, 0xfe}
		if first == 1 {
			b = []byte{0xfe, 0xff}
		}
		for i := range len(text) {
			pair := []byte{0, 0}
			pair[first] = text[i]
			b = append(b, pair...)
		}
		return string(b)
	}
	json := "{\n\t\"model\": {\"name\": \"m\\u0031\", \"input\": [8, 8, 1],\r\n\t\t\"encoder\": [{\"conv2d\": {\"filters\": 2, \"kernel\": 3}}],\n" +
		"\t\t\"decoder\": [{\"conv2d\": {\"filters\": 1, \"kernel\": [1, 3], \"activation\": \"sigmoid\"}}]},\n\t\"training\": {\"epochs\": 2, \"optimizer\": {\"learning_rate\": 1e-3}}}\n"
	for name, text := range map[string]string{
		"byte order mark": "\xef\xbb\xbf" + goodConfig, "version": "%YAML 1.2\n---" + goodConfig, "version and mark": "\xef\xbb\xbf%YAML 1.1\n---" + goodConfig,
		"UTF-16": utf16(goodConfig, 0, 1), "UTF-16, big-endian": utf16(goodConfig, 1, 0), "JSON": json, "CRLF": strings.ReplaceAll(goodConfig, "\n", "\r\n"),
	} {
		c, err := DecodeConfig(strings.NewReader(text))
		if err != nil || !strings.HasPrefix(c.Model.Name, "m") || c.Training.Epochs != 2 || len(c.Model.Encoder) != 1 {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for text, want := range map[string]string{"%YAML 2.0\n---\na: 1": "want %YAML 1.2", "a\x00:\x00": "is no text: want YAML or JSON in UTF-8"} {
		if _, err := DecodeConfig(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// What a run on a wide table writes can be read, or is not written.
func TestWideTables(t *testing.T) {
	config := func(columns int) Config {
		c, err := DecodeConfig(strings.NewReader(goodConfig))
		if err != nil {
			t.Fatal(err)
		}
		c.Data = Data{Name: "csv", File: "wide.csv", Scaling: "standard", Scaler: &dataset.Scaler{}}
		name := strings.Repeat("g", 40)
		for i := range columns {
			c.Data.Columns = append(c.Data.Columns, name)
			c.Data.Scaler.Offset, c.Data.Scaler.Scale = append(c.Data.Scaler.Offset, 1/float64(i+3)), append(c.Data.Scaler.Scale, 1/float64(i+7))
		}
		return c
	}
	path := filepath.Join(t.TempDir(), ConfigFile)
	c := config(60000) // 5 MB
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	if back, err := ReadConfig(path); err != nil || len(back.Data.Columns) != 60000 || back.Data.Scaler.Scale[59999] != c.Data.Scaler.Scale[59999] {
		t.Errorf("%d columns came back, %v", len(back.Data.Columns), err)
	}
	c.Data.Columns = append(c.Data.Columns, strings.Repeat("g", maxConfigBytes))
	if err := c.Write(path); err == nil || !strings.Contains(err.Error(), "data.columns has 60001 columns, take fewer") {
		t.Errorf("a table that is too wide: error %v", err)
	}
}
