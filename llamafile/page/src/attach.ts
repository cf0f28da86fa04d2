// Files that the user adds: text is taken as it is, images are brought to a form and size that encoders read.
import type { Attachment } from "./types";

export class AttachError extends Error {}

const TEXT_LIMIT = 2 << 20; // bytes
const SIDE = 2048; // pixels: more than any image encoder looks at

/** Read one file. Raises AttachError with words for the user. */
export async function attach(file: File, vision: boolean): Promise<Attachment> {
  if (file.type.startsWith("image/") && file.type !== "image/svg+xml") {
    if (!vision) throw new AttachError(`${file.name}: this model cannot see images.`);
    return { kind: "image", name: file.name, data: await readImage(file) };
  }
  if (file.size > TEXT_LIMIT) throw new AttachError(`${file.name} is larger than ${TEXT_LIMIT >> 20} MB.`);
  const bytes = await file.arrayBuffer();
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new AttachError(`${file.name} is not a text file.`);
  }
  if (text.includes("\0")) throw new AttachError(`${file.name} is not a text file.`);
  return { kind: "text", name: file.name, data: text };
}

async function readImage(file: File): Promise<string> {
  let picture: ImageBitmap;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new AttachError(`${file.name}: the image cannot be read.`);
  }
  const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
  if (scale === 1 && (file.type === "image/png" || file.type === "image/jpeg")) return asDataAddress(file);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  canvas.getContext("2d")!.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL(file.type === "image/jpeg" ? "image/jpeg" : "image/png", 0.92);
}

function asDataAddress(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
