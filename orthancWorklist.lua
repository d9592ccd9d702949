-- The worklist filter of orthanc-openmrs, for Orthanc's "LuaScripts" (it is optional).
--
-- Orthanc applies a scanner's query a second time to each answer of the plugin, by rules of its
-- own, and drops what they don't like. This filter hands the query to the plugin as it is, and
-- leaves Orthanc one that names the same keys and restricts nothing: so the plugin alone decides,
-- as DICOM PS3.4 C.2.2.2 and K.6.1.2.2 have it. Where the plugin doesn't run, a query stays what
-- it is. A filter that another script defined before is asked first.

do
  local before = IncomingWorklistRequestFilter

  local CHARACTER_SET = '0008,0005'
  local LETTER = '0040,a160' -- TextValue: no key of a worklist

  -- Numbers can't be left empty in what is given back to Orthanc.
  local NUMBERS = { ['0010,21c0'] = true } -- PregnancyStatus

  -- ISO_IR 13 has the yen where others have the backslash, and an overline for the tilde.
  local function unyen(values)
    for tag, value in pairs(values) do
      if type(value) == 'table' then
        unyen(value)
      elseif type(value) == 'string' then
        values[tag] = value:gsub('\194\165', '\\'):gsub('\226\128\190', '~')
      end
    end
  end

  -- Every key named, none with a value: universal matching.
  local function open(values, inside)
    for tag, value in pairs(values) do
      if type(value) == 'table' then
        open(value, true)
      elseif NUMBERS[tag] then
        values[tag] = (not inside) and '0' or nil
      else
        values[tag] = ''
      end
    end
  end

  function IncomingWorklistRequestFilter(query, origin)
    if before then
      query = before(query, origin)
    end
    local declared = query[CHARACTER_SET]
    if type(declared) == 'string' and (declared .. ' '):find('IR[ _]13%D') then
      unyen(query)
    end
    -- The plugin tells its mark by the environment, which no scanner can see: so none can forge it.
    local mark = os.getenv('ORTHANC_OPENMRS_QUERY_MARK')
    if mark then
      local whole = DumpJson(query, true)
      open(query, false)
      query[LETTER] = mark .. ' ' .. whole
    end
    -- All text is UTF-8 by now, whatever the scanner's was.
    query[CHARACTER_SET] = 'ISO_IR 192'
    return query
  end
end
