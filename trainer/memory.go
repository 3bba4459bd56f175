package trainer

import (
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// Memory is what a run takes: on the device, and besides on the host. On the CPU both are the host's.
type Memory struct {
	Device nn.Memory
	Host   HostMemory
}

// Total returns the sum, in bytes.
func (m Memory) Total() int { return m.Device.Total() + m.Host.Total() }

func (m Memory) String() string {
	return fmt.Sprintf("%v on the device, %v on the host", m.Device, m.Host)
}

// HostMemory is what a run takes of the host's memory besides the device's, in bytes: the model's weights, the data sets as
// far as they are known, samples in evaluation, a checkpoint or a model that is being saved, and pictures that are being
// drawn.
type HostMemory struct{ Model, Data, Evaluation, Saving, Pictures int }

// Total returns the sum.
func (h HostMemory) Total() int { return h.Model + h.Data + h.working() }

// working is what is taken after the model and the data have been read.
func (h HostMemory) working() int { return h.Evaluation + h.Saving + h.Pictures }

func (h HostMemory) String() string {
	return fmt.Sprintf("%s (model %s, data %s, evaluation %s, saving %s, pictures %s)", nn.BytesText(h.Total()),
		nn.BytesText(h.Model), nn.BytesText(h.Data), nn.BytesText(h.Evaluation), nn.BytesText(h.Saving), nn.BytesText(h.Pictures))
}

// PlanMemory returns what a run with those options of training takes on a device, without taking it. The sets are nil if they
// are not known yet. Its errors are those with which the run would not start.
func PlanMemory(m *nn.Model, dev backend.Device, o nn.TrainerOptions, train, validation *dataset.Set) (Memory, error) {
	o, host, err := planRun(m, dev, o, train, validation)
	if err != nil {
		return Memory{}, err
	}
	need, err := nn.TrainingMemory(m, dev, o)
	return Memory{need, host}, err
}

// planRun adds to the options of a trainer what is known of the data and what to leave the host, which it returns too.
func planRun(m *nn.Model, dev backend.Device, o nn.TrainerOptions, train, validation *dataset.Set) (nn.TrainerOptions, HostMemory, error) {
	shown, samples := use.SheetSamples, use.ChunkSamples
	var h HostMemory
	h.Model = 4 * m.Size()
	if train != nil {
		o.Samples, o.Values = train.Len(), !train.HasPixels()
		h.Data = train.Bytes() + 8*train.Len() // and the order, of which the trainer keeps a copy
		if train.Streamed() {
			h.Data += loaderBytes(train.Size(), o.Batch) + 8*train.Len() // and the orders of two epochs
		}
	}
	if validation != nil {
		samples = validation.Len()
		shown = min(shown, samples)
		h.Data += validation.Bytes()
	}
	h.Evaluation = use.EvaluatorBytes(m, samples, o.Loss)
	h.Saving = o.StateBytes(m)
	h.Pictures = max(use.PicturesBytes(m, validation, shown), latentBytes(m, validation))
	if dev.Policy().Host {
		o.Reserve = h.working()
		return o, h, nil
	}
	free, err := device.HostFree()
	if err != nil {
		return o, h, err
	}
	if h.working() > free {
		return o, h, fmt.Errorf("a run of model %q needs %s on the host, where %s are free", m.Config.Name, nn.BytesText(h.working()), nn.BytesText(free))
	}
	return o, h, nil
}

// memory is what the run takes.
func (s *session) memory() Memory {
	m := Memory{s.t.Memory(), s.host}
	if m.Device.Streamed && !s.o.Device.Policy().Host { // by way of two batches
		m.Host.Data += 2 * s.batch * s.o.Train.Size()
	}
	return m
}
