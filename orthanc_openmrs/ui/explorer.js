// Extends Orthanc Explorer (jQuery Mobile) by ways to the administrator's page of orthanc-openmrs.
(function () {
  "use strict";

  var PAGE = "../openmrs/ui/";

  function link(id, text, icon) {
    return $("<a>")
      .attr({ id: id, href: PAGE, rel: "external", "data-ajax": "false" })
      .attr({ "data-icon": icon, "data-role": "button" })
      .text(text);
  }

  // Above the studies' lookup.
  $("#lookup").live("pagebeforecreate", function () {
    $("#lookup [data-role=header] .ui-btn-left").append(
      link("openmrs-page", "OpenMRS", "info"),
    );
  });

  // Beside what can be had of a patient and of a study. Explorer makes the page once and shows
  // it for one resource after the other, which it names in the address.
  function entry(level, text, argument) {
    var id = "openmrs-" + level;

    $("#" + level).live("pagebeforecreate", function () {
      $("#" + level + "-access").append(
        $("<li>")
          .attr("data-icon", "info")
          .append($("<a>").attr({ id: id, href: PAGE, rel: "external", "data-ajax": "false" }).text(text)),
      );
    });

    $("#" + level).live("pagebeforeshow", function () {
      var found = /[?&]uuid=([0-9a-f-]+)/.exec(window.location.hash);
      var uuid = ($.mobile.pageData && $.mobile.pageData.uuid) || (found && found[1]) || "";
      $("#" + id).attr("href", PAGE + "#studies?" + argument + "=" + encodeURIComponent(uuid));
    });
  }

  entry("patient", "Studies and candidates in OpenMRS", "of");
  entry("study", "Whose study in OpenMRS", "study");
})();
