// Package nn builds autoencoders from layers, compiles them to steps on a device and trains them.
//
// A Config describes a model: an input shape, the layers of its encoder and of its decoder. New checks it, infers
// every shape and draws the initial weights. NewNetwork runs the model on a device, NewTrainer trains it:
//
//	model, err := nn.New(nn.Denoiser(), seed)
//	dev, err := nn.Open("auto")
//	net, err := nn.NewNetwork(model, dev, nn.NetworkOptions{})
//	err = net.Predict(out, in, n)
//
// Shapes are rows, columns, channels (NHWC with the batch in front), as in Keras.
package nn
