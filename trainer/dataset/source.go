package dataset

// A Source says where the files of a public data set can be downloaded, and
// how to tell that they are the right ones.
type Source struct {
	Name    string
	Mirrors []string // base URLs, each ending in a slash, in the order to try them
	Files   []File
}

// A File is one file of a Source, pinned by one of two checksums in
// hexadecimal.
type File struct {
	Name string // added to a mirror's base URL

	// SHA256 is that of the content after unpacking, since mirrors may
	// compress the same content differently.
	SHA256 string

	// MD5, used only if SHA256 is empty, is that of the file as served. It
	// finds damage, but would not stop a forger.
	MD5 string
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
		// Its authors publish MD5 sums of the compressed files and nothing
		// stronger. That is enough against damage; against an attacker there
		// is only the HTTPS of the first mirror, which the second lacks.
		Name: "fashion-mnist",
		Mirrors: []string{
			"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
			"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
		},
		Files: []File{
			{Name: trainImages + ".gz", MD5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
			{Name: trainLabels + ".gz", MD5: "25c81989df183df01b3e8a0aad5dffbe"},
			{Name: testImages + ".gz", MD5: "bef4ecab320f06d8554ea6380940ec79"},
			{Name: testLabels + ".gz", MD5: "bb300cfdad3c16e7a12a480ee83cd310"},
		},
	},
}
