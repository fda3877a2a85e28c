/** As much of the GGUF format as it takes to notice that a file is cut short. */

const MAGIC = 'GGUF';
const HEADER_ALIGNMENT = 32;
/** Bytes of the fixed-size value types, by type id; 8 is a string, 9 an array. */
const VALUE_BYTES: Record<number, number> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const STRING = 8;
const ARRAY = 9;
const F32_BYTES = 4;

/** What Ollama says about the file when it creates a model from it; undefined when it is whole. */
export function ggufProblem(file: Buffer): string | undefined {
  if (file.subarray(0, 4).toString('latin1') !== MAGIC) return 'invalid file magic';
  try {
    return missingTensor(file);
  } catch {
    return 'unexpected EOF';
  }
}

function missingTensor(file: Buffer): string | undefined {
  const reader = new Reader(file, 8);
  const tensorCount = reader.count();
  const pairCount = reader.count();
  for (let pair = 0; pair < pairCount; pair++) {
    reader.text();
    reader.skipValue(reader.int32());
  }
  const tensors = Array.from({ length: tensorCount }, () => reader.tensor());
  const dataStart = Math.ceil(reader.position / HEADER_ALIGNMENT) * HEADER_ALIGNMENT;
  const cut = tensors.find(({ offset, size }) => dataStart + offset + size > file.length);
  if (!cut) return undefined;
  const end = dataStart + cut.offset + cut.size;
  return `tensor "${cut.name}" offset+size (${end}) exceeds file size (${file.length})`;
}

class Reader {
  constructor(
    private readonly file: Buffer,
    public position: number,
  ) {}

  int32(): number {
    return this.file.readUInt32LE(this.advance(4));
  }

  count(): number {
    return Number(this.file.readBigUInt64LE(this.advance(8)));
  }

  text(): string {
    const length = this.count();
    const start = this.advance(length);
    return this.file.toString('utf8', start, start + length);
  }

  skipValue(type: number): void {
    if (type === STRING) this.text();
    else if (type === ARRAY) this.skipArray();
    else this.advance(VALUE_BYTES[type] ?? 0);
  }

  tensor(): { name: string; offset: number; size: number } {
    const name = this.text();
    let elements = 1;
    for (let left = this.int32(); left > 0; left--) elements *= this.count();
    this.int32();
    return { name, offset: this.count(), size: elements * F32_BYTES };
  }

  private skipArray(): void {
    const type = this.int32();
    for (let left = this.count(); left > 0; left--) this.skipValue(type);
  }

  private advance(bytes: number): number {
    const start = this.position;
    this.position += bytes;
    return start;
  }
}
