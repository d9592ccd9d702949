// Asks for a worklist with dcmjs-dimse's own default keys; prints the answers as JSON lines.
// Arguments: port, calling AE title, keys as a JSON object.
const { Client, constants, requests } = require('dcmjs-dimse');

const [port, aeTitle, keys] = process.argv.slice(2);
const request = requests.CFindRequest.createWorklistFindRequest(JSON.parse(keys));
request.on('response', (response) => {
  if (response.getStatus() === constants.Status.Pending && response.hasDataset()) {
    console.log(JSON.stringify(response.getDataset().getElements()));
  } else if (response.getStatus() !== constants.Status.Success) {
    process.exitCode = 1;
  }
});
const client = new Client();
client.on('networkError', () => process.exit(2));
client.addRequest(request);
client.send('127.0.0.1', Number(port), aeTitle, 'ORTHANC');
