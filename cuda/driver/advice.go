//go:build cuda && linux

package driver

// CUresults that advice is known for; cuda.h has them all.
const (
	outOfMemory        = 2
	stubLibrary        = 34
	deviceUnavailable  = 46
	noDevice           = 100
	noBinaryForGPU     = 209
	eccUncorrectable   = 214
	invalidPTX         = 218
	noJITCompiler      = 221
	unsupportedPTX     = 222
	illegalAddress     = 700
	illegalInstruction = 715
	misalignedAddress  = 716
	launchFailed       = 719
	notPermitted       = 800
	driverMismatch     = 803
	compatNotSupported = 804
	deviceLost         = 911 // CUDA_ERROR_EXTERNAL_DEVICE
	unknown            = 999
)

const (
	resumeAdvice = "the device cannot be used any more by this process; a training run goes on from its last checkpoint with --resume, and \"dmesg | grep Xid\" may tell why"
	bugAdvice    = "a kernel did what it must not: this is a defect of convae, and \"compute-sanitizer convae check --device cuda\" shows where; a training run goes on from its last checkpoint with --resume"
	driverAdvice = "install a newer NVIDIA driver"
)

// advice tells what a person can do about a CUresult.
func advice(code int) string {
	switch code {
	case outOfMemory:
		return "other processes may hold the device's memory (nvidia-smi shows them); else take a smaller batch"
	case stubLibrary:
		return "the libcuda.so.1 that was found is the toolkit's stub: take its folder out of LD_LIBRARY_PATH"
	case deviceUnavailable:
		return "the device is in an exclusive or prohibited compute mode, and another process may hold it (nvidia-smi shows mode and processes): end that process, or set the mode with \"nvidia-smi -c DEFAULT\""
	case noDevice:
		return "see what nvidia-smi lists; a container needs \"--gpus all\" and the NVIDIA container toolkit"
	case noBinaryForGPU, invalidPTX, unsupportedPTX:
		return "the driver is too old for the kernels' PTX: " + driverAdvice
	case noJITCompiler:
		return "the driver's libnvidia-ptxjitcompiler.so.1 is missing: install the whole driver; a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility"
	case illegalAddress, illegalInstruction, misalignedAddress, launchFailed:
		return bugAdvice
	case eccUncorrectable, deviceLost, unknown:
		return resumeAdvice
	case notPermitted:
		return "the process may not use the device: look at the rights of /dev/nvidia*"
	case driverMismatch, compatNotSupported:
		return "the driver's kernel module and its libraries are of different versions: restart the machine, or " + driverAdvice
	}
	return ""
}
