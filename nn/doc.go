// Package nn builds autoencoders from layers, compiles them to steps on a device and trains them.
//
// A Config describes a model: an input shape, the layers of its encoder and of its decoder. New checks it, infers
// every shape and draws the initial weights. NewNetwork runs the model on a device, NewTrainer trains it:
//
//	model, err := nn.New(nn.Denoiser(), 1)
//	check(err)
//	dev, _, err := device.Open("auto")
//	check(err)
//	defer dev.Close()
//	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
//	check(err)
//	defer net.Close()
//	in, out := make([]float32, model.Input.Len()), make([]float32, model.Output.Len())
//	check(net.Predict(out, in, 1))
//
// Shapes are rows, columns, channels (NHWC with the batch in front), as in Keras.
package nn
