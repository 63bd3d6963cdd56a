//! Spanish.

use super::Lists;

pub(super) const LISTS: Lists = Lists {
    weights: &[
        (
            3,
            "excelente excelentes estupendo estupenda fantastico fantastica maravilla maravilloso maravillosa magnifico magnifica increible perfecto perfecta \
             perfectamente extraordinario extraordinaria espectacular genial fenomenal encantado encantada encanta encanto formidable brillante \
             sensacional inmejorable impecable amor adoro insuperable buenisimo buenisima maravillosamente",
        ),
        (
            2,
            "agradable agradecer agradecido agradecida agradezco alegra alegre alegria alegro amable amables amablemente amabilidad atento atenta bendicion \
             bonito bonita buen buena buenas bueno buenos bien calidad carino carinoso celebrar comodidad comodo comoda contenta contento confiable cordial cordialmente \
             delicioso deliciosa disfrutar disfrute disfrutamos divertido divertida eficaz eficiente emocionado emocionada enhorabuena entusiasmado exito exitoso \
             favorito feliz felices felicidad felicitar felicitaciones felicidades ganas_de generoso generosa gracias grato guapo gusta gusto gustado hermoso hermosa \
             honesto honrado ideal impresionante ilusion interesante lindo linda lujo mejor mejores muchas_gracias nitido optimo placer preciosa precioso profesional \
             profesionales puntual rapidez recomendable recomiendo recomendar rico rica sabroso satisfecho satisfecha satisfaccion seguridad simpatico simpatica sincero \
             solucionado solucionada resuelto resuelta tranquila tranquilo tranquilidad triunfo util utiles valioso ventaja victoria vale_la la_pena bravo hurra \
             servicial respetuoso educado educada acogedor acogedora orgulloso orgullosa aprecio aprecia apreciamos excepcional bonisimo cumplido",
        ),
        (
            1,
            "acepto aceptar aceptado acuerdo de_acuerdo adecuado afortunado afortunadamente apoyo aprobar aprobado apropiado asegurar ayuda ayudar \
             ayudado ayudarle ayudarla ayudo barato beneficio bienvenida bienvenido bonificacion calma caliente calmado cierto claramente compensacion \
             comprendo comprender confianza confirmado confirmada confirmar confio conforme conveniente correcta correctamente correcto descuento disponible dispuesto \
             economico efectivamente entiendo entender entendido entendida esperanza estable facil facilmente fiable flexible funciona funcionan \
             garantia garantizar garantizado gratis gratuito gratuita incluido incluida interes interesado interesada justo justa limpio limpia \
             logramos lograr mejora mejorar mejorado oportunidad ordenado paz positivo positiva practico preferir prefiero premio preparado progreso prometo \
             promesa puntualmente rapida rapidamente rapido razonable reembolso reembolsar regalo resolver respeto resuelve sano segura seguro sencillo servir \
             solucion solucionar suerte suficiente tranquilizar valido vale valorar no_pasa ningun_problema sin_problema con_gusto por_supuesto",
        ),
        (
            -1,
            "agotado agotada ansioso apena aburrido aburrida atrasado atraso ausente anulacion anular cancelacion cancelar cancelado cancelada cara caro \
             complicado complicada complicacion confundido confundida confusa confuso confusion costoso culpa deficiente demora demorado demorada desacuerdo \
             desconocido desconfianza descuido desordenado dificil dificiles dificultad disculpa disculpas disculpe disculpar dispensa duda dudas \
             dudoso debil equivocacion equivocado equivocada error errores esperando excusa extrano extrana falla fallo fallos falta faltan frio fria incidencia \
             incierto incomodo incomoda incomodidad inconveniente inconvenientes incorrecto incorrecta indispuesto inseguro insuficiente lamentablemente lamento lastima \
             lenta lentamente lento limitado malentendido mancha molestia molestias multa nervioso nerviosa negativo negativa olvidar olvidado olvide pendiente pena perdon perdone \
             pesado penalizacion preocupa preocupacion preocupada preocupado preocupar problema problemas rara raro rechazar rechazado rechazada retraso retrasado retrasada \
             retrasos riesgo ruido ruidoso ruidosa siento  susto temo temor tardan tardado triste tristeza vacio vencido desgraciadamente cansado cansada \
             averia estres estresado apurado urgencia",
        ),
        (
            -2,
            "abandonado absurdo absurda abuso agresivo amenaza amenazar amenazado amenazante antipatico asustado asustada avergonzado basura cucaracha cucarachas \
             chapuza colgar colgaron cortaron dano danado danada danos decepcion decepcionado decepcionada decepcionante defecto defectuoso defectuosa \
             demandar denuncia denunciar deplorable desagradable desastre desastroso desesperado desesperada deshonesto desprecio destrozado disgusto disgustado disgustada doloroso \
             dolor engano enganado enganada enganar enfadado enfadada enfadar enfermo enfermedad enojado enojada enojo estropeado estropeada falsa falso fracasar \
             fracaso fraude frustracion frustrada frustrado frustrante gritar grosero grosera harto harta humedad ignorado ignorada ilegal impresentable inaceptable \
             incapaz incompetente incompetencia incumplido incumplimiento indignado indignada indignante ineficaz ineficiente injusticia injusto injusta insatisfecho \
             insatisfecha insulto insultar inutil inutiles irresponsable irrespetuoso irritado irritada mal mala malas malo malos maleducado maleducada mentir mentira \
             mentiras mentiroso mienten miedo molesta molestar molesto moho negligencia no_funciona no_sirve odioso ofendido pateticamente patetico pelea peligro \
             peligroso peor perder perdida perdido perdieron  queja quejar quejarme quejas robado robar robo rota roto romper rompio sucia sucio suciedad \
             sufrir terror tonteria tonto trampa abogado furia roban cobraron_mal fatal feo fea ruina lio",
        ),
        (
            -3,
            "asco asqueroso asquerosa atroz aborrezco barbaridad canalla catastrofe catastrofico detestable detesto delincuentes escandalo escandaloso espantoso \
             espantosa estafa estafado estafada estafador estafadores furioso furiosa horrible horribles horror horroroso horrorosa idiota idiotas indecente \
             infame infierno intolerable ladron ladrones lamentable maldito maldita mierda miserable nefasto nefasta odio odiar pesadilla pesima pesimo \
             repugnante ridiculo ridicula terrible terribles vergonzoso vergonzosa verguenza imperdonable inadmisible malisimo malisima",
        ),
        (0, "buenos_dias buenas_tardes buenas_noches buen_dia bien_sur mas_bien"),
    ],
    negations: "no ni nunca jamas tampoco nadie nada ningun ninguna ninguno sin apenas",
    intensifiers: "muy mucho mucha muchisimo muchisima tan tanto demasiado demasiada totalmente completamente absolutamente realmente sumamente extremadamente \
        verdaderamente especialmente super bastante increiblemente enormemente",
    softeners: "poco poca algo ligeramente casi medio relativamente",
    contrasts: "pero sino aunque embargo",
};
