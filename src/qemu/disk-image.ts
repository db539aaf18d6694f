export async function prepareDisk(_options: { sourceFile: string; destinationFile: string; format: string; mode: "overlay" | "copy" }): Promise<void> {
  throw new Error("not written yet");
}
