package tensorboard

import (
	"bytes"
	"fmt"
	"image"
	_ "image/png" // the size of pictures
	"math"

	"github.com/convae/convae/trainer/tensorboard/eventpb"
)

// Value is something of a step under a tag. Tags with the same words in front of a / are shown together.
type Value struct{ v *eventpb.Summary_Value }

// Scalar is a number, a point of a curve.
func Scalar(tag string, v float64) Value {
	return Value{&eventpb.Summary_Value{Tag: tag, Value: &eventpb.Summary_Value_SimpleValue{SimpleValue: float32(v)}}}
}

// Picture is a PNG.
func Picture(tag string, png []byte) (Value, error) {
	c, format, err := image.DecodeConfig(bytes.NewReader(png))
	if err != nil || format != "png" {
		return Value{}, fmt.Errorf("tensorboard: the picture %s is no PNG", tag)
	}
	const rgb = 3
	return Value{&eventpb.Summary_Value{Tag: tag, Value: &eventpb.Summary_Value_Image{Image: &eventpb.Summary_Image{
		Height: int32(c.Height), Width: int32(c.Width), Colorspace: rgb, EncodedImageString: png}}}}, nil
}

// Text is Markdown.
func Text(tag, markdown string) Value {
	return Value{&eventpb.Summary_Value{Tag: tag + "/text_summary",
		Metadata: &eventpb.SummaryMetadata{PluginData: &eventpb.SummaryMetadata_PluginData{PluginName: "text"}},
		Value: &eventpb.Summary_Value_Tensor{Tensor: &eventpb.TensorProto{Dtype: eventpb.DataType_DT_STRING, StringVal: [][]byte{[]byte(markdown)},
			TensorShape: &eventpb.TensorShapeProto{Dim: []*eventpb.TensorShapeProto_Dim{{Size: 1}}}}}}}
}

// buckets of a histogram, as many as TensorBoard shows.
const buckets = 30

// Histogram is how often values of each size occur: in 30 ranges of one width from the least to the largest, or one if all are equal. Values that are
// not finite are left out; without any other there are no ranges.
func Histogram(tag string, values []float32) Value {
	h := &eventpb.HistogramProto{}
	for _, x := range values {
		v := float64(x)
		if v-v != 0 {
			continue
		}
		if h.Num == 0 {
			h.Min, h.Max = v, v
		}
		h.Min, h.Max = min(h.Min, v), max(h.Max, v)
		h.Num++
		h.Sum += v
		h.SumSquares += v * v
	}
	n := buckets
	if h.Min == h.Max {
		n = int(min(h.Num, 1))
	}
	h.Bucket, h.BucketLimit = make([]float64, n), make([]float64, n)
	width := (h.Max - h.Min) / buckets
	for i := range n - 1 {
		h.BucketLimit[i] = h.Min + width*float64(i+1)
	}
	if n > 0 {
		h.BucketLimit[n-1] = math.MaxFloat64 // TensorBoard takes the maximum for it
	}
	for _, x := range values {
		if v := float64(x); v-v == 0 {
			i := 0
			if width > 0 {
				i = min(int((v-h.Min)/width), n-1)
			}
			h.Bucket[i]++
		}
	}
	return Value{&eventpb.Summary_Value{Tag: tag, Value: &eventpb.Summary_Value_Histo{Histo: h}}}
}
