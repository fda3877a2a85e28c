/**
 * Writes all-MiniLM-L6-v2 (a BERT sentence embedding) as a GGUF file: the package registry has its
 * weights as safetensors only, which llama.cpp does not read. Plain JavaScript on Node alone.
 */

const F32 = 0;
const F16 = 1;
const ALIGNMENT = 32;

/** GGUF's numbers for the types of metadata values. */
const TYPE = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 };

const GLOBAL_NAMES = {
  'embeddings.word_embeddings.weight': 'token_embd.weight',
  'embeddings.position_embeddings.weight': 'position_embd.weight',
  'embeddings.token_type_embeddings.weight': 'token_types.weight',
  'embeddings.LayerNorm.weight': 'token_embd_norm.weight',
  'embeddings.LayerNorm.bias': 'token_embd_norm.bias',
};

const LAYER_NAMES = {
  'attention.self.query': 'attn_q',
  'attention.self.key': 'attn_k',
  'attention.self.value': 'attn_v',
  'attention.output.dense': 'attn_output',
  'attention.output.LayerNorm': 'attn_output_norm',
  'intermediate.dense': 'ffn_up',
  'output.dense': 'ffn_down',
  'output.LayerNorm': 'layer_output_norm',
};

/** llama.cpp's name of a tensor; undefined for what it has no use for (position ids, pooler). */
function ggufName(name) {
  if (GLOBAL_NAMES[name]) return GLOBAL_NAMES[name];
  const match = /^encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$/.exec(name);
  const part = match && LAYER_NAMES[match[2]];
  return part ? `blk.${match[1]}.${part}.${match[3]}` : undefined;
}

const scratch = new DataView(new ArrayBuffer(4));

function toHalf(value) {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const mantissa = bits & 0x7fffff;
  if (exponent <= 0) {
    // Too small for a normal number: shift the implied one in.
    if (exponent < -10) return sign;
    const shift = 14 - exponent;
    return sign | (((mantissa | 0x800000) + (1 << (shift - 1))) >>> shift);
  }
  if (exponent >= 31) return sign | 0x7c00;
  // A carry out of the mantissa runs into the exponent, which is what rounding up means.
  return sign | (((exponent << 10) | (mantissa >>> 13)) + ((mantissa >>> 12) & 1));
}

function halve(bytes) {
  const result = Buffer.alloc(bytes.length / 2);
  for (let at = 0; at < bytes.length; at += 4) {
    result.writeUInt16LE(toHalf(bytes.readFloatLE(at)), at / 2);
  }
  return result;
}

/** Matrices become half precision; vectors and the two small lookup tables stay as they are. */
function convertTensor(name, shape, bytes) {
  const keep = shape.length < 2 || name === 'position_embd.weight' || name === 'token_types.weight';
  return { name, shape, type: keep ? F32 : F16, bytes: keep ? bytes : halve(bytes) };
}

function readTensors(safetensors) {
  const headerLength = Number(safetensors.readBigUInt64LE(0));
  const header = JSON.parse(safetensors.toString('utf8', 8, 8 + headerLength));
  const tensors = [];
  for (const [source, entry] of Object.entries(header)) {
    const name = ggufName(source);
    if (!name) continue;
    if (entry.dtype !== 'F32') throw new Error(`${source} is ${entry.dtype}, not F32`);
    const [start, end] = entry.data_offsets.map((offset) => offset + 8 + headerLength);
    tensors.push(convertTensor(name, entry.shape, safetensors.subarray(start, end)));
  }
  return tensors;
}

/** The way llama.cpp spells WordPiece: `▁` opens a word, a continuation has no mark. */
function ggufToken(token) {
  if (token.startsWith('[') && token.endsWith(']')) return token;
  return token.startsWith('##') ? token.slice(2) : `\u2581${token}`;
}

const NORMAL = 1;
const CONTROL = 3;
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

function metadataOf(config, vocabulary) {
  const special = (token) => ['uint32', vocabulary.indexOf(token)];
  const types = vocabulary.map((token) => (SPECIAL.includes(token) ? CONTROL : NORMAL));
  return {
    'general.architecture': ['string', 'bert'],
    'general.name': ['string', 'all-MiniLM-L6-v2'],
    'general.license': ['string', 'apache-2.0'],
    'general.file_type': ['uint32', 1],
    'bert.block_count': ['uint32', config.num_hidden_layers],
    'bert.context_length': ['uint32', config.max_position_embeddings],
    'bert.embedding_length': ['uint32', config.hidden_size],
    'bert.feed_forward_length': ['uint32', config.intermediate_size],
    'bert.attention.head_count': ['uint32', config.num_attention_heads],
    'bert.attention.layer_norm_epsilon': ['float32', config.layer_norm_eps],
    'bert.attention.causal': ['bool', false],
    'bert.pooling_type': ['uint32', 1],
    'tokenizer.ggml.model': ['string', 'bert'],
    'tokenizer.ggml.token_type_count': ['uint32', config.type_vocab_size],
    'tokenizer.ggml.tokens': ['string', vocabulary.map(ggufToken)],
    'tokenizer.ggml.token_type': ['int32', types],
    'tokenizer.ggml.padding_token_id': special('[PAD]'),
    'tokenizer.ggml.unknown_token_id': special('[UNK]'),
    'tokenizer.ggml.bos_token_id': special('[CLS]'),
    'tokenizer.ggml.cls_token_id': special('[CLS]'),
    'tokenizer.ggml.eos_token_id': special('[SEP]'),
    'tokenizer.ggml.seperator_token_id': special('[SEP]'),
    'tokenizer.ggml.mask_token_id': special('[MASK]'),
  };
}

function fixed(size, write) {
  const buffer = Buffer.alloc(size);
  write(buffer);
  return buffer;
}

const uint32 = (value) => fixed(4, (buffer) => buffer.writeUInt32LE(value));
const uint64 = (value) => fixed(8, (buffer) => buffer.writeBigUInt64LE(BigInt(value)));

const ENCODERS = {
  uint32,
  int32: (value) => fixed(4, (buffer) => buffer.writeInt32LE(value)),
  float32: (value) => fixed(4, (buffer) => buffer.writeFloatLE(value)),
  bool: (value) => Buffer.from([value ? 1 : 0]),
  string: (value) => {
    const bytes = Buffer.from(value, 'utf8');
    return Buffer.concat([uint64(bytes.length), bytes]);
  },
};

function encodeEntry(key, [type, value]) {
  const encode = ENCODERS[type];
  const parts = [ENCODERS.string(key)];
  if (Array.isArray(value)) {
    parts.push(uint32(TYPE.array), uint32(TYPE[type]), uint64(value.length));
    for (const item of value) parts.push(encode(item));
  } else {
    parts.push(uint32(TYPE[type]), encode(value));
  }
  return Buffer.concat(parts);
}

const padding = (length) => Buffer.alloc((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);

function encodeTensorInfo({ name, shape, type }, offset) {
  // GGUF counts dimensions from the innermost.
  const dimensions = shape.toReversed().map(uint64);
  const head = [ENCODERS.string(name), uint32(shape.length), ...dimensions];
  return Buffer.concat([...head, uint32(type), uint64(offset)]);
}

function encodeGguf(metadata, tensors) {
  const entries = Object.entries(metadata);
  const head = [Buffer.from('GGUF'), uint32(3), uint64(tensors.length), uint64(entries.length)];
  for (const [key, value] of entries) head.push(encodeEntry(key, value));
  const data = [];
  let offset = 0;
  for (const tensor of tensors) {
    head.push(encodeTensorInfo(tensor, offset));
    const gap = padding(tensor.bytes.length);
    data.push(tensor.bytes, gap);
    offset += tensor.bytes.length + gap.length;
  }
  const front = Buffer.concat(head);
  return Buffer.concat([front, padding(front.length), ...data]);
}

/** `safetensors`, `config` and `vocabulary` are the three files of the model, as Buffers. */
export function minilmToGguf({ safetensors, config, vocabulary }) {
  const tokens = vocabulary.toString('utf8').trimEnd().split('\n');
  const metadata = metadataOf(JSON.parse(config.toString('utf8')), tokens);
  return encodeGguf(metadata, readTensors(safetensors));
}
