package dataset

// A Source says where the files of a public data set can be downloaded, and
// how to tell that they are the right ones.
type Source struct {
	Name    string
	Mirrors []string // base URLs, each ending in a slash, in the order to try them
	Files   []File
}

// A File is one file of a Source, pinned by a checksum.
type File struct {
	Name string // added to a mirror's base URL

	// SHA256, in hexadecimal, is that of the content after unpacking, since
	// mirrors may compress the same content differently.
	SHA256 string

	// AsServed says that SHA256 is that of the file as it is served instead:
	// for those whose sum is published so.
	AsServed bool
}

var sources = []Source{
	{
		Name: "mnist",
		Mirrors: []string{
			"https://ossci-datasets.s3.amazonaws.com/mnist/",
			"https://storage.googleapis.com/cvdf-datasets/mnist/",
		},
		Files: []File{
			{Name: trainImages + ".gz", SHA256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
			{Name: trainLabels + ".gz", SHA256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"},
			{Name: testImages + ".gz", SHA256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"},
			{Name: testLabels + ".gz", SHA256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
		},
	},
	{
		// The sums are those that TensorFlow Datasets publishes.
		Name: "fashion-mnist",
		Mirrors: []string{
			"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
			"https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
		},
		Files: []File{
			{Name: trainImages + ".gz", SHA256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", AsServed: true},
			{Name: trainLabels + ".gz", SHA256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", AsServed: true},
			{Name: testImages + ".gz", SHA256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", AsServed: true},
			{Name: testLabels + ".gz", SHA256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", AsServed: true},
		},
	},
}
