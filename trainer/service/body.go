package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
)

// Kinds of bodies.
const (
	kindPNG  = "image/png"
	kindJPEG = "image/jpeg"
	kindJSON = "application/json"
	kindNPY  = "application/x-npy"
)

var kinds = []string{kindPNG, kindJPEG, kindJSON, kindNPY}

// input is what a request has in it: a picture or an array.
type input struct {
	picture image.Image
	array   trainer.Array
	pixels  bool // the array has bytes of pixels, of 0 to 255
	many    bool // the array has samples one after the other, and not one alone
}

// head looks at what stands before a request's body: what it is, and which of some kinds the answer is to have.
func (s *Service) head(r *http.Request, to []string) (kind, accept string, err error) {
	if r.Method != http.MethodPost {
		return "", "", refuse(http.StatusMethodNotAllowed, "the method is %s, want POST", r.Method)
	}
	kind, _, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(kinds, kind) {
		return "", "", refuse(http.StatusUnsupportedMediaType, "the Content-Type is %q, want one of %s", r.Header.Get("Content-Type"), strings.Join(kinds, ", "))
	}
	if r.ContentLength > s.o.Body {
		return "", "", refuse(http.StatusRequestEntityTooLarge, "the body has %d bytes, want at most %d", r.ContentLength, s.o.Body)
	}
	accept, err = accepted(r.Header.Get("Accept"), kind, to)
	return kind, accept, err
}

// decode finds what is in a body.
func (s *Service) decode(body []byte, kind string) (in *input, err error) {
	in = &input{}
	switch kind {
	case kindJSON:
		in.array, err = decodeJSON(body)
	case kindNPY:
		in.array, err = trainer.DecodeNPY(bytes.NewReader(body), int64(len(body)))
		in.pixels = in.array.DType == "uint8"
	default:
		in.picture, err = s.decodePicture(body, kind)
	}
	if errors.As(err, new(refusal)) {
		return nil, err
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is no %s: %v", kind, err)
	}
	return in, nil
}

// decodePicture reads a picture, after a look at its size.
func (s *Service) decodePicture(body []byte, kind string) (image.Image, error) {
	c, format, err := image.DecodeConfig(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if "image/"+format != kind {
		return nil, fmt.Errorf("it is %s", format)
	}
	if c.Width > s.o.Pixels || c.Height > s.o.Pixels || c.Width*c.Height > s.o.Pixels {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the picture has %d x %d pixels, want at most %d", c.Width, c.Height, s.o.Pixels)
	}
	return picture.Decode(bytes.NewReader(body))
}

// accepted returns the first of some kinds that an Accept header names: without one, that of the body or else the first.
func accepted(header, body string, kinds []string) (string, error) {
	if !slices.Contains(kinds, body) {
		body = kinds[0]
	}
	if strings.TrimSpace(header) == "" {
		return body, nil
	}
	best, quality := "", 0.0
	for part := range strings.SplitSeq(header, ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		switch kind {
		case "*/*":
			kind = body
		case "application/*":
			kind = kindJSON
		case "image/*":
			kind = kindPNG
		}
		if slices.Contains(kinds, kind) && q > quality {
			best, quality = kind, q
		}
	}
	if best == "" {
		return "", refuse(http.StatusNotAcceptable, "Accept is %q, want one of %s", header, strings.Join(kinds, ", "))
	}
	return best, nil
}

// decodeJSON reads nested arrays of numbers, all of one length at each depth.
func decodeJSON(body []byte) (a trainer.Array, err error) {
	const deepest = 4
	d := json.NewDecoder(bytes.NewReader(body))
	var lengths []int // of the arrays that are open
	for {
		token, err := d.Token()
		if err == io.EOF && len(lengths) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF && len(a.Shape) > 0 {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		switch v := token.(type) {
		case json.Delim:
			switch {
			case v == '{':
				return a, errors.New("found an object, want arrays of numbers, as [[0, 0.5], [1, 0]]")
			case v == '[' && len(lengths) == 0 && a.Shape != nil:
				return a, errors.New("found a second array after the first, want one alone: several samples are one array of arrays")
			case v == '[' && len(lengths) == deepest:
				return a, fmt.Errorf("arrays are nested more than %d deep, want samples, rows, columns and channels at the most", deepest)
			case v == '[':
				if len(lengths) > 0 {
					lengths[len(lengths)-1]++
				}
				lengths = append(lengths, 0)
				if len(a.Data) == 0 && len(a.Shape) < len(lengths) {
					a.Shape = append(a.Shape, -1)
				}
				if len(lengths) > len(a.Shape) {
					return a, errors.New("arrays are nested less deeply at the start than later")
				}
			default:
				depth := len(lengths) - 1
				if lengths[depth] == 0 {
					return a, errors.New("found an empty array, want numbers in each")
				}
				if a.Shape[depth] < 0 {
					a.Shape[depth] = lengths[depth]
				}
				if a.Shape[depth] != lengths[depth] {
					return a, fmt.Errorf("arrays of %d and of %d elements are beside each other, want all of one length", a.Shape[depth], lengths[depth])
				}
				lengths = lengths[:depth]
			}
		case float64:
			switch {
			case len(lengths) == 0 && a.Shape != nil:
				return a, fmt.Errorf("found the number %v after the array, want the array alone", v)
			case len(lengths) == 0:
				return a, fmt.Errorf("found the number %v alone, want arrays of numbers, as [[0, 0.5], [1, 0]]", v)
			case len(lengths) != len(a.Shape):
				return a, fmt.Errorf("found the number %v beside arrays, want numbers all at one depth", v)
			case math.Abs(v) > math.MaxFloat32:
				return a, fmt.Errorf("found the number %v, want numbers that float32 holds", v)
			}
			lengths[len(lengths)-1]++
			a.Data = append(a.Data, float32(v))
		case string:
			return a, fmt.Errorf("found the text %.40q, want arrays of numbers", v)
		case nil:
			return a, errors.New("found null, want arrays of numbers")
		default:
			return a, fmt.Errorf("found %v, want arrays of numbers", v)
		}
	}
}

// fits reports whether a picture has the size of the model's input.
func (s *Service) fits(m image.Image) bool {
	b, in := m.Bounds(), s.m.Input
	return in.H == b.Dy() && in.W == b.Dx() && (in.C == 3 || in.C == 1 && picture.IsGrey(m))
}

// colours returns the picture with the channels that suit the model: a grey one as grey unless the model takes colours only.
func (in *input) colours(m *nn.Model) picture.Image {
	if m.Input.C == 3 || !picture.IsGrey(in.picture) {
		return picture.FromGoImage(in.picture, 3)
	}
	return picture.FromGoImage(in.picture, 1)
}

// samples returns the values of n samples as the model takes them.
func (in *input) samples(m *nn.Model, data trainer.Data) (x []float32, n int, err error) {
	size := m.Input
	if in.picture != nil {
		if size.C != 1 && size.C != 3 {
			return nil, 0, refuse(http.StatusUnprocessableEntity, "the model takes arrays of %s and no pictures", shapeText(size))
		}
		if b := in.picture.Bounds(); b.Dy() != size.H || b.Dx() != size.W {
			return nil, 0, refuse(http.StatusUnprocessableEntity, "the picture has %d x %d pixels, want %d x %d, or POST /v1/denoise, which takes any size", b.Dx(), b.Dy(), size.W, size.H)
		}
		return picture.FromGoImage(in.picture, size.C).Pix, 1, nil
	}
	shape := in.array.Shape
	if in.many = !fits(shape, size); in.many && !(len(shape) > 1 && fits(shape[1:], size)) {
		return nil, 0, refuse(http.StatusUnprocessableEntity, "the array's shape is %s, want %s, or several of them one after the other", dataset.ShapeText(shape), shapeText(size))
	}
	x = in.array.Data
	if in.pixels {
		for i := range x {
			x[i] /= 255
		}
	}
	return data.Scaled(x), len(x) / size.Len(), nil
}

// fits reports whether an array has the shape of a sample, or its values in a row, or the rows of one channel.
func fits(shape []int, s backend.Shape) bool {
	return slices.Equal(shape, []int{s.H, s.W, s.C}) || slices.Equal(shape, []int{s.Len()}) || s.C == 1 && slices.Equal(shape, []int{s.H, s.W})
}

func sampleShape(s backend.Shape) []int {
	if s.H*s.W == 1 {
		return []int{s.C}
	}
	return []int{s.H, s.W, s.C}
}

func shapeText(s backend.Shape) string { return dataset.ShapeText(sampleShape(s)) }

// like returns the shape of an answer: with the number of samples in front if that of the request had it.
func (in *input) like(s backend.Shape, n int) []int {
	if in.many {
		return append([]int{n}, sampleShape(s)...)
	}
	return sampleShape(s)
}

// output is what is answered.
type output struct {
	values   []float32
	unscaled []float32 // in the units of the data
	shape    []int
}

// encode makes a body of one of the kinds.
func (o *output) encode(kind string) ([]byte, error) {
	var body bytes.Buffer
	switch {
	case kind == kindNPY:
		if err := trainer.EncodeNPY(&body, o.unscaled, o.shape); err != nil {
			return nil, err
		}
	case kind == kindJSON:
		for _, v := range o.unscaled {
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, refuse(http.StatusUnprocessableEntity, "the model makes values that are not finite of that, which JSON does not have: want application/x-npy")
			}
		}
		writeJSON(&body, o.unscaled, o.shape)
		body.WriteByte('\n')
	case len(o.shape) != 3 || o.shape[2] != 1 && o.shape[2] != 3:
		return nil, refuse(http.StatusNotAcceptable, "an array of shape %s is no picture: want application/json or application/x-npy in Accept", dataset.ShapeText(o.shape))
	default:
		m := picture.ToGoImage(picture.Image{H: o.shape[0], W: o.shape[1], C: o.shape[2], Pix: o.values})
		encode := png.Encode
		if kind == kindJPEG {
			encode = func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, &jpeg.Options{Quality: 95}) }
		}
		if err := encode(&body, m); err != nil {
			return nil, err
		}
	}
	return body.Bytes(), nil
}

// writeJSON writes nested arrays, with as many digits as tell a float32 from its neighbours.
func writeJSON(b *bytes.Buffer, values []float32, shape []int) {
	b.WriteByte('[')
	each := len(values) / shape[0]
	for i := range shape[0] {
		if i > 0 {
			b.WriteByte(',')
		}
		if len(shape) > 1 {
			writeJSON(b, values[i*each:][:each], shape[1:])
		} else {
			b.Write(strconv.AppendFloat(b.AvailableBuffer(), float64(values[i]), 'g', -1, 32))
		}
	}
	b.WriteByte(']')
}
