/** The smallest weights file that has a tensor, cut off before the end of it. */
export function truncatedGguf(): Buffer {
  const integer = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const long = (value: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const text = (value: string) => Buffer.concat([long(value.length), Buffer.from(value)]);
  const STRING_TYPE = 8;
  const F32 = 0;
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    integer(3),
    long(1),
    long(1),
    text('general.architecture'),
    integer(STRING_TYPE),
    text('llama'),
    text('token_embd.weight'),
    integer(2),
    long(64),
    long(32),
    integer(F32),
    long(0),
  ]);
  return Buffer.concat([head, Buffer.alloc(64)]);
}
