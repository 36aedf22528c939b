// Messages by Nodemailer, which Rocket.Chat uses: one for each object of a JSON array on standard input, whose `file` is
// where it is written; all else is what Nodemailer's `sendMail` takes.
import { readFileSync, writeFileSync } from "node:fs";
import nodemailer from "nodemailer";

const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: "windows" });
for (const { file, ...mail } of JSON.parse(readFileSync(0, "utf8"))) {
  const { message } = await transport.sendMail(mail);
  writeFileSync(file, message);
}
