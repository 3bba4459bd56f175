// Runs ONNX models with onnxruntime-node: node onnx_run.js JOBS.json
//
// JOBS.json is a list of {model, input, dims, output}: files of a graph with one input and one output, of float32 numbers that go in and of
// those that come out, and the dimensions of the input. For each it prints a line of JSON with the dimensions of the output. With {seconds} a job
// has no output: its input is run again and again for that time, and the line says how many samples a second that makes.
// NODE_PATH names the folder in which `npm install --ignore-scripts onnxruntime-node` has put the package; its library for Linux on x64
// comes with it.
const fs = require("fs");
const ort = require("onnxruntime-node");

async function main() {
  const options = { intraOpNumThreads: Number(process.env.ORT_THREADS || 0), logSeverityLevel: 3 };
  for (const job of JSON.parse(fs.readFileSync(process.argv[2], "utf8"))) {
    const session = await ort.InferenceSession.create(job.model, options);
    const bytes = fs.readFileSync(job.input);
    const x = new ort.Tensor("float32", new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), job.dims);
    const run = () => session.run({ [session.inputNames[0]]: x });
    const y = (await run())[session.outputNames[0]];
    if (job.output) fs.writeFileSync(job.output, Buffer.from(y.data.buffer, y.data.byteOffset, y.data.byteLength));
    const line = { input: session.inputNames[0], output: session.outputNames[0], dims: y.dims, onnxruntime: ort.env.versions.node };
    if (job.seconds) {
      for (let i = 0; i < 3; i++) await run();
      let n = 0;
      const start = process.hrtime.bigint();
      let spent = 0;
      for (; spent < job.seconds; n++) {
        await run();
        spent = Number(process.hrtime.bigint() - start) / 1e9;
      }
      line.images_per_second = (n * job.dims[0]) / spent;
    }
    console.log(JSON.stringify(line));
    await session.release();
  }
}

main().catch((e) => {
  console.error(String(e.message || e));
  process.exit(1);
});
