// Reports an exam with dcmjs-dimse: start, end, end again; prints the statuses as a JSON array.
// Arguments: port, calling AE title, SOPInstanceUID.
const { Client, Dataset, constants, requests } = require('dcmjs-dimse');

const [port, aeTitle, uid] = process.argv.slice(2);
const sopClass = constants.SopClass.ModalityPerformedProcedureStep;
const start = {
  ScheduledStepAttributesSequence: [{ StudyInstanceUID: '1.2.3.4', ScheduledProcedureStepID: '1' }],
  PatientName: 'Doe^Jane',
  PerformedProcedureStepID: 'PPS1',
  PerformedProcedureStepStatus: 'IN PROGRESS',
  Modality: 'CT',
};
const end = { PerformedProcedureStepStatus: 'COMPLETED' };

function ask(request) {
  return new Promise((resolve) => {
    const client = new Client();
    client.on('networkError', () => process.exit(2));
    request.on('response', (response) => resolve(response.getStatus()));
    client.addRequest(request);
    client.send('127.0.0.1', Number(port), aeTitle, 'ORTHANC');
  });
}

function request(kind, elements) {
  const made = new requests[kind](sopClass, uid);
  made.setDataset(new Dataset(elements));
  return made;
}

(async () => {
  const statuses = [];
  statuses.push(await ask(new requests.CEchoRequest()));
  statuses.push(await ask(request('NSetRequest', end)));
  statuses.push(await ask(request('NCreateRequest', end)));
  statuses.push(await ask(request('NCreateRequest', start)));
  statuses.push(await ask(request('NCreateRequest', start)));
  statuses.push(await ask(request('NSetRequest', end)));
  statuses.push(await ask(request('NSetRequest', end)));
  console.log(JSON.stringify(statuses));
})();
