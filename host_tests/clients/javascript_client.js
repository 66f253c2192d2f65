// An application on DeviceHive's own JavaScript library: it sends commands and hears what came of
// them.
//
//     node javascript_client.js URL LOGIN PASSWORD DEVICE COMMANDS
//
// COMMANDS is JSON: a list of [name, parameters, lifetime]. Each thing that happens is printed as a
// line of JSON; the end is that every command was updated or that the login was refused.
"use strict";

const DeviceHive = require("devicehive");

const { Command } = DeviceHive.models;
const { CommandListQuery, CommandPollQuery, NotificationPollQuery } = DeviceHive.models.query;
const [url, login, password, deviceId, commands] = process.argv.slice(2);

const tell = (fields) => console.log(JSON.stringify(fields));

async function main() {
  const hive = new DeviceHive({ mainServiceURL: url, login, password });
  hive.on(DeviceHive.ERROR_EVENT, (error) => tell({ event: "error", error }));
  try {
    await hive.connect();
  } catch (error) {
    tell({ event: "refused", error: error.message });
    return process.exit(0); // the library leaves its socket open
  }
  const device = await hive.device.get(deviceId);
  tell({ event: "device", id: device.id, name: device.name });
  const updated = new Set();
  const sent = [];

  async function hear(message) {
    if (message.notification) {
      tell({ event: "notification", name: message.notification, parameters: message.parameters });
      return;
    }
    tell({ event: "update", id: message.id, status: message.status, result: message.result });
    updated.add(message.id);
    await finish();
  }

  async function finish() {
    if (sent.length < JSON.parse(commands).length || !sent.every((id) => updated.has(id))) return;
    const query = new CommandListQuery({ deviceId, sortField: "timestamp" });
    const listed = await hive.command.list(query);
    tell({ event: "listed", commands: listed.map((one) => [one.command, one.status]) });
    hive.disconnect();
  }

  hive.on(DeviceHive.MESSAGE_EVENT, hear);
  await hive.command.subscribe(new CommandPollQuery({ deviceId, returnUpdatedCommands: true }));
  await hive.notification.subscribe(new NotificationPollQuery({ deviceId }));
  for (const [command, parameters, lifetime] of JSON.parse(commands)) {
    const { id } = await hive.command.insert(
      deviceId,
      new Command({ command, parameters, lifetime }),
    );
    sent.push(id);
    tell({ event: "sent", id, command });
  }
  await finish();
}

main();
